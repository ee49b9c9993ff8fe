//! The PID file of a running daemon is deleted or moved: the daemon is still found, and it alone.

use std::fs::{self, File};

use daemonocle_tests::{
    CLAIM, Fixture, Lock, Pid, STARTUP, Sandbox, eventually, is_alive, skip, skip_unless_root,
    skip_unless_there_is, stat,
};
use rustix::process::Signal;

/// That every action knows of the daemon, and that a stop ends it.
fn expect_found(fixture: &Fixture<'_>, pid: Pid) {
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let output = fixture.start();
    assert_eq!(output.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains(&format!("already running with PID {pid}")), "{output:?}");
    assert_eq!(fixture.sandbox().survivors(), [pid], "no second one");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    assert!(is_alive(fixture.started()));
}

#[test]
fn a_daemon_whose_file_was_deleted_is_found() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    expect_found(&fixture, pid);
}

#[test]
fn a_daemon_does_not_remove_a_file_that_is_not_its_own() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    sandbox.write("example.pid", "another\n");
    sandbox.signal(pid, Signal::TERM);
    eventually("it has ended", || !is_alive(pid));
    assert_eq!(sandbox.read("example.pid"), "another\n");
}

#[test]
fn a_daemon_whose_file_was_renamed_is_found() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    fs::rename(sandbox.path("example.pid"), sandbox.path("other.pid")).unwrap();
    expect_found(&fixture, pid);
}

#[test]
fn a_daemon_whose_file_was_replaced_is_found() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let new = sandbox.write("new", "1\n");
    fs::rename(new, sandbox.path("example.pid")).unwrap();
    expect_found(&fixture, pid);
}

#[test]
fn a_daemon_whose_directory_was_deleted_is_found() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("run", 0o755);
    let fixture = sandbox.fixture("ready").set("pid_file", dir.join("example.pid"));
    let pid = fixture.started();
    fs::remove_dir_all(&dir).unwrap();
    expect_found(&fixture, pid);
}

#[test]
fn a_daemon_whose_directory_was_renamed_is_found_there() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("run", 0o755);
    let pid = sandbox.fixture("ready").set("pid_file", dir.join("example.pid")).started();
    let dir = sandbox.path("var");
    fs::rename(sandbox.path("run"), &dir).unwrap();
    let fixture = sandbox.fixture("ready").set("pid_file", dir.join("example.pid"));
    let told = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &told);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}

#[test]
fn a_file_moved_to_the_place_of_another_daemon_is_not_believed() {
    let sandbox = Sandbox::new();
    let one = sandbox.fixture("ready");
    let two = sandbox.fixture("ready").set("pid_file", sandbox.path("two.pid"));
    let pid = one.started();
    fs::rename(sandbox.path("example.pid"), sandbox.path("two.pid")).unwrap();
    for arguments in [&["status"][..], &["stop"], &["stop", "--force", "--timeout", "0"]] {
        let output = two.run(arguments).finish();
        assert_eq!(output.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains("is locked by a process that is not the daemon"));
    }
    assert!(is_alive(pid));
    expect_found(&one, pid);
}

#[test]
fn two_daemons_of_one_directory_are_told_apart() {
    let sandbox = Sandbox::new();
    let one = sandbox.fixture("ready");
    let two = sandbox.fixture("ready").set("pid_file", sandbox.path("two.pid"));
    let pid = one.started();
    let other = two.started();
    fs::rename(sandbox.path("example.pid"), sandbox.path("swap")).unwrap();
    fs::rename(sandbox.path("two.pid"), sandbox.path("example.pid")).unwrap();
    fs::rename(sandbox.path("swap"), sandbox.path("two.pid")).unwrap();
    for arguments in [&["status"][..], &["stop"]] {
        let output = one.run(arguments).finish();
        assert_eq!(output.code(), Some(1), "{output:?}");
    }
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    fs::remove_file(sandbox.path("two.pid")).unwrap();
    one.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    assert!(is_alive(other));
    two.stop().expect(0, "Stopping example ... OK\n", "");
}

#[test]
fn even_to_a_user_who_may_not_examine_it() {
    if skip_unless_root("even_to_a_user_who_may_not_examine_it") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").for_everybody();
    let pid = fixture.started();
    let run = |action| fixture.run(&[action]).as_user(65534, 65534).finish();
    let status = run("status");
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let stop = run("stop");
    assert_eq!(stop.code(), Some(1), "{stop:?}");
    assert!(stop.stderr.contains(&format!("(PID {pid})")), "{stop:?}");
    // The locks alone are no evidence: they can be those of somebody who is gone, under his number.
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    let why = format!("PID {pid} may be the daemon that has lost it, and nothing proves it");
    for action in ["status", "stop"] {
        run(action).expect_error(1, "", &[&why]);
    }
    assert!(is_alive(pid));
}

#[test]
fn even_if_its_worker_is_somebody_else_by_now() {
    if skip_unless_root("even_if_its_worker_is_somebody_else_by_now") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("changes-user").unset("hook_log");
    let pid = fixture.started();
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    expect_found(&fixture, pid);
}

#[test]
fn a_daemon_whose_directory_was_replaced_is_found() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("run", 0o755);
    let fixture = sandbox.fixture("ready").set("pid_file", dir.join("example.pid"));
    let pid = fixture.started();
    fs::rename(&dir, sandbox.path("old")).unwrap();
    sandbox.make_dir("run", 0o755);
    expect_found(&fixture, pid);
}

/// The kernel takes a process's files away, and then closes them one by one: a start that has seen its locks
/// before, and its files no more, waits for its end.
#[test]
fn a_daemon_that_is_dying_while_it_is_looked_for_is_waited_for() {
    let name = "a_daemon_that_is_dying_while_it_is_looked_for_is_waited_for";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("listens");
    // The start stops when it has found the daemon and not looked at it yet.
    let log = sandbox.path("calls").display().to_string();
    let stop = ["strace", "-o", &log, "-e", "inject=pidfd_open:signal=SIGSTOP:when=1"];
    for _ in 0..5 {
        let pid = fixture.started();
        fs::remove_file(fixture.pid_file()).unwrap();
        let strace = fixture.run(&["start"]).under(&stop).spawn();
        eventually("the start has found it", || {
            sandbox.read("calls").contains("stopped by SIGSTOP") || !strace.stderr().is_empty()
        });
        let is_start = |pid: &Pid| stat(*pid).is_some_and(|it| it.parent == strace.pid());
        let Some(start) = sandbox.survivors().into_iter().find(is_start) else {
            return skip(name, "strace cannot trace");
        };
        sandbox.signal(pid, Signal::KILL);
        while stat(pid).is_some_and(|it| !it.is_exiting) {}
        sandbox.signal(start, Signal::CONT);
        strace.finish().expect(0, "Starting example ... OK\n", "");
        fs::remove_file(&log).unwrap();
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
    }
}

/// Before it has its locks, so that whoever makes the directory anew, and starts there, cannot know of it.
#[test]
fn a_directory_that_is_replaced_during_a_start() {
    let name = "a_directory_that_is_replaced_during_a_start";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    let fixture = sandbox.fixture("ready").set("pid_file", dir.join("example.pid"));
    // After the claim, and before the first fork.
    let log = sandbox.path("calls").display().to_string();
    let stop = ["strace", "-o", &log, "-e", "inject=pipe2:signal=SIGSTOP:when=1"];
    let strace = fixture.run(&["start"]).under(&stop).spawn();
    eventually("the start is held", || {
        sandbox.read("calls").contains("stopped by SIGSTOP") || !strace.stderr().is_empty()
    });
    let is_start = |pid: &Pid| stat(*pid).is_some_and(|it| it.parent == strace.pid());
    let Some(start) = sandbox.survivors().into_iter().find(is_start) else {
        return skip(name, "strace cannot trace");
    };
    assert!(fixture.pid_file().exists(), "it has claimed it");
    fs::rename(&dir, sandbox.path("elsewhere")).unwrap();
    sandbox.make_dir("dir", 0o755);
    let pid = fixture.started();
    sandbox.signal(start, Signal::CONT);
    strace.finish().expect_error(
        1,
        "Starting example ... FAILED\n",
        &["was deleted or moved during the start"],
    );
    assert_eq!(sandbox.survivors(), [pid], "no second one");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}

/// Somebody who starts it makes a new file, and notices only then that there is a daemon.
#[test]
fn a_start_that_has_made_a_new_file_is_not_all_there_is() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    fs::remove_file(fixture.pid_file()).unwrap();
    let file = File::create_new(fixture.pid_file()).unwrap();
    Lock::Write.take(&file, STARTUP..CLAIM + 1);
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
}
