//! A machine without /proc, or without a null device.

use daemonocle_tests::{
    Fixture, Output, Run, Sandbox, is_alive, skip, skip_unless_root, skip_unless_there_is,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const FAILED: &str = "Starting example ... FAILED\n";
const STOPPED: &str = "Stopping example ... OK\n";
const RELOADED: &str = "Reloading example ... OK\n";
const NOT_RUNNING: &str = "example -- not running\n";
const WARNING: &str = "WARNING: example is not running\n";

/// Runs an action where there is nothing at this place.
fn without(place: &str, run: Run) -> Run {
    let script = format!("mount -t tmpfs none {place} && exec \"$@\"");
    run.through(&script).under(&["unshare", "--mount"])
}

/// Whether the test with this name has to be skipped, which has been said.
fn is_skipped(name: &str) -> bool {
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return true;
    }
    let sandbox = Sandbox::new();
    let trial = without("/proc", sandbox.fixture("ready").watch(&["true"])).finish();
    if trial.code() != Some(0) {
        skip(name, "no mount namespaces");
    }
    trial.code() != Some(0)
}

/// The list of all locks is not among what `ProcSubset=pid` of systemd leaves.
#[test]
fn a_deleted_file_without_the_list_of_locks() {
    const NAME: &str = "a_deleted_file_without_the_list_of_locks";
    if is_skipped(NAME) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let pid = fixture.started();
    std::fs::remove_file(fixture.pid_file()).unwrap();
    let script = "mount -t proc -o subset=pid proc /proc && exec \"$@\"";
    let run = |action| fixture.run(&[action]).through(script).under(&["unshare", "--mount"]);
    let status = run("status").finish();
    if status.stderr.contains("mount: ") {
        return skip(NAME, "no such /proc");
    }
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let why = format!("already running with PID {pid}");
    run("start").finish().expect_error(1, "Starting example ... FAILED\n", &[&why]);
    assert_eq!(sandbox.survivors(), [pid], "no second one");
}

fn daemon(sandbox: &Sandbox) -> Fixture<'_> {
    sandbox.fixture("ready").set("on_hup", "yes")
}

#[track_caller]
fn expect_status(fixture: &Fixture<'_>) {
    let status = fixture.status();
    let start = format!("example -- pid: {}, ", fixture.pid().unwrap());
    assert!(status.stdout.starts_with(&start), "{status:?}");
}

/// The kernel tells without it that there is one thread to fork, and who has the locks.
#[test]
fn a_start_without_proc() {
    if is_skipped("a_start_without_proc") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let run = |action: &str| without("/proc", fixture.run(&[action])).finish();
    run("status").expect(1, NOT_RUNNING, "");
    run("start").expect(0, OK, "");
    let first = fixture.pid().unwrap();
    assert_eq!(sandbox.survivors(), [first]);
    expect_status(&fixture);
    run("start").expect(0, "", &format!("WARNING: example already running with PID {first}\n"));
    expect_cannot_examine(&fixture, &run("status"));
    // It cannot tell what program it is.
    let text = "ERROR: cannot reload: the program cannot be found: ";
    fixture.reload().expect_error(1, "Reloading example ... FAILED\n", &[text]);
    assert_eq!((fixture.pid(), sandbox.survivors()), (Some(first), vec![first]));
    run("restart").expect(0, &format!("{STOPPED}{OK}"), "");
    let second = fixture.pid().unwrap();
    assert!(second != first && sandbox.survivors() == [second]);
    run("stop").expect(0, STOPPED, "");
    sandbox.expect_nobody();
    run("stop").expect(0, "", WARNING);
    run("reload").expect(1, "", WARNING);
}

/// What it is like cannot be told; that it is there can.
#[track_caller]
fn expect_cannot_examine(fixture: &Fixture<'_>, output: &Output) {
    let (pid, path) = (fixture.pid().unwrap(), fixture.pid_file());
    let text = format!(
        "ERROR: cannot examine process {pid} of PID file {path:?}: cannot read /proc: No such file \
         or directory\n"
    );
    output.expect(1, "", &text);
}

/// A daemon that has /proc, and commands that do not.
#[test]
fn commands_without_proc() {
    if is_skipped("commands_without_proc") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let run = |action: &str| without("/proc", fixture.run(&[action])).finish();
    let first = fixture.started();
    expect_cannot_examine(&fixture, &run("status"));
    run("reload").expect(0, RELOADED, "");
    let second = fixture.pid().unwrap();
    assert!(second != first && !is_alive(first));
    run("restart").expect(0, &format!("{STOPPED}{OK}"), "");
    let third = fixture.pid().unwrap();
    assert!(third != second && !is_alive(second));
    run("stop").expect(0, STOPPED, "");
    assert!(!is_alive(third) && !fixture.pid_file().exists());
    sandbox.expect_nobody();
}

#[test]
fn the_foreground_without_proc() {
    if is_skipped("the_foreground_without_proc") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let running = without("/proc", fixture.run(&["start", "--debug"])).spawn();
    running.says(OK);
    fixture.settled();
    expect_status(&fixture);
    sandbox.signal(fixture.pid().unwrap(), Signal::TERM);
    // Who else is in the process group cannot be told, and so not when all have gone.
    let text =
        "ERROR: cannot wait for the process group: cannot read /proc: No such file or directory\n";
    running.finish().expect(1, OK, text);
    assert_eq!(fixture.hook_log(), "143|Terminated by SIGTERM (15)\n");
    sandbox.expect_nobody();
    assert!(!fixture.pid_file().exists());
}

#[test]
fn a_start_without_a_null_device() {
    if is_skipped("a_start_without_a_null_device") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let run = |action: &str| without("/dev", fixture.run(&[action])).finish();
    let text = "ERROR: cannot open /dev/null: No such file or directory\n";
    run("start").expect(1, FAILED, text);
    run("restart").expect(1, FAILED, &format!("{WARNING}{text}"));
    run("status").expect(1, NOT_RUNNING, "");
    run("stop").expect(0, "", WARNING);
    run("reload").expect(1, "", WARNING);
    sandbox.expect_nobody();
    assert!(!fixture.pid_file().exists());
}

#[test]
fn commands_without_a_null_device() {
    if is_skipped("commands_without_a_null_device") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let run = |action: &str| without("/dev", fixture.run(&[action])).finish();
    let first = fixture.started();
    let status = run("status");
    assert_eq!((status.code(), &*status.stderr), (Some(0), ""), "{status:?}");
    assert!(status.stdout.starts_with(&format!("example -- pid: {first}, ")), "{status:?}");
    run("reload").expect(0, RELOADED, "");
    let second = fixture.pid().unwrap();
    assert!(second != first && !is_alive(first));
    let text = "ERROR: cannot open /dev/null: No such file or directory\n";
    run("restart").expect(1, &format!("{STOPPED}{FAILED}"), text);
    sandbox.expect_nobody();
    assert!(!fixture.pid_file().exists());
    let third = fixture.started();
    run("stop").expect(0, STOPPED, "");
    assert!(!is_alive(third) && !fixture.pid_file().exists());
}

/// Nothing is sent to the null device there.
#[test]
fn the_foreground_without_a_null_device() {
    if is_skipped("the_foreground_without_a_null_device") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let running = without("/dev", fixture.run(&["start", "--debug"])).spawn();
    running.says(OK);
    let first = fixture.settled();
    expect_status(&fixture);
    fixture.reload().expect(0, RELOADED, "");
    assert_ne!(fixture.settled(), first);
    fixture.stop().expect(0, STOPPED, "");
    assert_eq!(running.finish().signal(), Some(libc::SIGTERM));
    sandbox.expect_nobody();
}

/// Who has lost its PID file is found by the list of locks only, which nobody has here: that is said.
#[test]
fn a_daemon_without_its_pid_file_and_without_proc() {
    if is_skipped("a_daemon_without_its_pid_file_and_without_proc") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let pid = fixture.started();
    std::fs::remove_file(fixture.pid_file()).unwrap();
    let why = "a process that is out of sight may be the daemon that has lost it";
    for action in ["status", "stop", "start", "restart", "reload"] {
        let output = without("/proc", fixture.run(&[action])).finish();
        assert_eq!(output.code(), Some(1), "{action}: {output:?}");
        assert!(output.stderr.contains(why), "{action}: {output:?}");
        assert_eq!(sandbox.survivors(), [pid], "{action}: {output:?}");
    }
}
