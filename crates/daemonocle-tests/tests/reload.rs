//! `Context::reload`: a new process takes over, or the old one stays.

use std::fs;

use daemonocle_tests::{
    Fixture, Pid, Sandbox, eventually, is_alive, limit, reloading, skip, skip_unless_root, stat,
    status_field, tell,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const RELOADED: &str = "0|Shutting down for reload\n";

/// Makes it reload, which succeeds; the new PID.
#[track_caller]
fn reload(fixture: &Fixture<'_>, old: Pid) -> Pid {
    tell(fixture);
    eventually("the new one has the PID file", || fixture.pid().is_some_and(|pid| pid != old));
    eventually("the old one is gone", || !is_alive(old));
    let new = fixture.settled();
    assert!(is_alive(new));
    new
}

/// Makes it reload, which fails; what it has to say.
#[track_caller]
fn fail(fixture: &Fixture<'_>, old: Pid) -> String {
    let said = answer(fixture);
    expect_running(fixture, old);
    said
}

/// Tells it to reload; what it has to say.
#[track_caller]
fn answer(fixture: &Fixture<'_>) -> String {
    let before = fixture.sandbox().read("out");
    tell(fixture);
    let mut said = String::new();
    eventually("it has said something", || {
        said = fixture.sandbox().read("out")[before.len()..].to_owned();
        !said.is_empty()
    });
    said
}

#[track_caller]
fn expect_running(fixture: &Fixture<'_>, pid: Pid) {
    assert_eq!(fixture.sandbox().survivors(), [pid], "one process, and no other");
    assert_eq!(fixture.pid(), Some(pid));
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let warning = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &warning);
}

#[test]
fn a_new_process_takes_over() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("on_start", "log");
    let fixture = fixture.set("start_log", sandbox.path("start.log"));
    let first = fixture.started();
    let mut pid = first;
    for _ in 0..3 {
        let new = reload(&fixture, pid);
        expect_running(&fixture, new);
        let it = stat(new).unwrap();
        assert_eq!((it.group, it.session), (new, stat_session(first, it.session)));
        assert_eq!(it.terminal, 0);
        pid = new;
    }
    assert_eq!(fixture.hook_log(), RELOADED.repeat(3));
    assert_eq!(sandbox.read("start.log"), "started\n", "the start hook does not run again");
    fixture.stop().expect(0, STOPPED, "");
    assert_eq!(fixture.hook_log(), RELOADED.repeat(3) + "143|Terminated by SIGTERM (15)\n");
    assert!(!fixture.pid_file().exists());
    sandbox.expect_nobody();
    fixture.start().expect(0, OK, "");
}

/// The session of a process, if it is still to be seen, and else what it must be.
fn stat_session(pid: Pid, otherwise: Pid) -> Pid {
    stat(pid).map_or(otherwise, |stat| stat.session)
}

#[test]
fn a_worker_that_has_taken_the_handle_finishes_its_work() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads-politely");
    let old = fixture.started();
    let new = reload(&fixture, old);
    expect_running(&fixture, new);
    let out = format!("{old} is here\n{new} is here\n{old} finishes\n");
    assert_eq!(sandbox.read("out"), out);
    assert_eq!(fixture.hook_log(), RELOADED);
}

#[test]
fn a_new_one_that_does_not_come_up_changes_nothing() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("ready", "0.5");
    let pid = fixture.started();
    for (plan, text) in [
        (
            "fail",
            "1: Child exited immediately with exit code 1: the new one does not like it here\n",
        ),
        ("exit", "9: Child exited immediately with exit code 9\n"),
        ("panic", "101: Child exited immediately with exit code 101: no new one at all\n"),
        ("kill", "134: Child exited immediately with exit code 134: SIGABRT (6)\n"),
        ("hang", "1: Timed out: the daemon was not ready within 500ms\n"),
    ] {
        sandbox.write("plan", plan);
        assert_eq!(fail(&fixture, pid), text);
    }
    let log = fixture.hook_log();
    assert!(!log.contains("reload"), "{log}");
    sandbox.write("plan", "");
    let new = reload(&fixture, pid);
    expect_running(&fixture, new);
}

#[test]
fn a_program_that_is_gone_changes_nothing_and_a_new_one_is_run() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").for_everybody();
    let pid = fixture.started();
    let program = sandbox.path("fixture");
    fs::rename(&program, sandbox.path("hidden")).unwrap();
    fs::copy(sandbox.path("hidden"), sandbox.path("other")).unwrap();
    fs::remove_file(sandbox.path("hidden")).unwrap();
    tell(&fixture);
    eventually("it has said why not", || {
        let said = sandbox.read("out");
        said.contains("\n1: cannot reload: cannot run ")
            && said.ends_with(": No such file or directory\n")
    });
    assert_eq!(sandbox.survivors(), [pid]);
    fs::rename(sandbox.path("other"), program).unwrap();
    let new = reload(&fixture, pid);
    assert_eq!(fs::read_link(format!("/proc/{new}/exe")).unwrap(), fixture.program());
}

#[test]
fn from_another_thread() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("where", "thread");
    let pid = fixture.started();
    let new = reload(&fixture, pid);
    expect_running(&fixture, new);
    assert_eq!(fixture.hook_log(), RELOADED);
}

#[test]
fn not_from_a_child() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("where", "child");
    let pid = fixture.started();
    let why = "Err(\"cannot reload: this process is not the daemon, but a child of it\")\n";
    assert_eq!(fail(&fixture, pid), why);
    assert_eq!(fixture.hook_log(), "");
}

#[test]
fn not_twice_at_once() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads-politely").set("where", "twice");
    let old = fixture.started();
    tell(&fixture);
    eventually("a new one has it", || fixture.pid().is_some_and(|pid| pid != old));
    eventually("the other has heard why not", || {
        sandbox.read("out").contains("1: cannot reload: another reload is under way\n")
            || sandbox.read("out").contains("1: cannot reload: the daemon is about to end\n")
    });
    eventually("the old one is gone", || !is_alive(old));
    let new = fixture.settled();
    expect_running(&fixture, new);
}

#[test]
fn not_with_another_pid_file() {
    let sandbox = Sandbox::new();
    let other = sandbox.path("other.pid");
    let fixture = reloading(&sandbox, "reloads").set("changes", sandbox.write("changes", ""));
    let pid = fixture.started();
    sandbox.write("changes", format!("PID_FILE={}\n", other.display()));
    let why = format!("1: PID file {other:?}: the daemon that reloads has another one\n");
    assert_eq!(answer(&fixture), why);
    sandbox.write("changes", "");
    expect_running(&fixture, pid);
}

/// Nobody would find the new one.
#[test]
fn not_if_the_pid_file_is_lost() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads");
    let pid = fixture.started();
    let path = fixture.pid_file();
    fs::rename(&path, sandbox.path("moved.pid")).unwrap();
    let why = format!(
        "1: cannot reload: somebody has deleted or moved PID file {path:?}: restart the daemon\n"
    );
    for is_replaced in [false, true] {
        if is_replaced {
            sandbox.write("example.pid", "");
        }
        assert_eq!(answer(&fixture), why);
        let status = fixture.status();
        assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    }
    fs::rename(sandbox.path("moved.pid"), &path).unwrap();
    reload(&fixture, pid);
}

/// Whoever asks at whatever moment gets one of the two.
#[test]
fn it_is_never_not_running() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads");
    let mut pid = fixture.started();
    for _ in 0..10 {
        let old = pid;
        tell(&fixture);
        while is_alive(old) {
            let output = fixture.run(&["status", "--fields", "pid"]).finish();
            assert_eq!(output.code(), Some(0), "{output:?}");
            let output = fixture.start();
            assert!(output.stderr.contains("already running with PID"), "{output:?}");
        }
        pid = fixture.settled();
        assert_ne!(pid, old);
    }
    expect_running(&fixture, pid);
}

#[test]
fn in_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads");
    let running = fixture.foreground();
    running.says(OK);
    let mut pid = fixture.settled();
    for _ in 0..3 {
        tell(&fixture);
        let old = pid;
        eventually("a new one has it", || fixture.pid().is_some_and(|pid| pid != old));
        eventually("the old one is gone", || !is_alive(old));
        pid = fixture.settled();
        assert_eq!(stat(pid).unwrap().group, stat(running.pid()).unwrap().group);
        eventually("it is the parent's", || stat(pid).unwrap().parent == running.pid());
    }
    sandbox.signal(running.pid(), Signal::TERM);
    let output = running.finish();
    assert_eq!(output.signal(), Some(15), "{output:?}");
    assert!(output.stdout.ends_with("All children are gone. Parent is exiting...\n"), "{output:?}");
    assert_eq!(fixture.hook_log(), RELOADED.repeat(3) + "143|Terminated by SIGTERM (15)\n");
    assert!(!fixture.pid_file().exists());
    sandbox.expect_nobody();
}

/// The signal is for what the daemon has become, although the parent has not noticed yet.
#[test]
fn a_signal_while_the_old_one_is_dead_and_unburied() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads");
    let running = fixture.foreground();
    running.says(OK);
    let old = fixture.settled();
    sandbox.signal(running.pid(), Signal::STOP);
    tell(&fixture);
    eventually("a new one has it", || fixture.pid().is_some_and(|pid| pid != old));
    eventually("the old one is dead", || !is_alive(old));
    assert!(stat(old).is_some(), "and unburied");
    sandbox.signal(running.pid(), Signal::TERM);
    sandbox.signal(running.pid(), Signal::CONT);
    assert_eq!(running.finish().signal(), Some(15));
    assert_eq!(fixture.hook_log(), format!("{RELOADED}143|Terminated by SIGTERM (15)\n"));
    sandbox.expect_nobody();
}

#[test]
fn as_another_user() {
    if skip_unless_root("as_another_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("theirs", 0o777);
    let fixture = reloading(&sandbox, "reloads").for_everybody().set("user", "nobody");
    let fixture = fixture.set("out", dir.join("out")).set("hook_log", dir.join("hook.log"));
    fs::set_permissions(sandbox.path("fifo"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .unwrap();
    let old = fixture.started();
    tell(&fixture);
    eventually("a new one has it", || fixture.pid().is_some_and(|pid| pid != old));
    let new = fixture.settled();
    eventually("the old one is gone", || !is_alive(old));
    expect_running(&fixture, new);
    fixture.stop().expect(0, STOPPED, "");
    assert!(!fixture.pid_file().exists());
    sandbox.expect_nobody();
}

#[test]
fn not_in_a_chroot_directory() {
    if skip_unless_root("not_in_a_chroot_directory") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("chroot", sandbox.dir());
    let fixture = ["fifo", "out", "plan", "pid_file", "hook_log"]
        .into_iter()
        .fold(fixture, |fixture, name| fixture.set(name, format!("/{name}")));
    let path = sandbox.path("pid_file");
    fixture.start().expect(0, OK, "");
    tell(&fixture);
    eventually("it has said why not", || {
        sandbox.read("out").contains("the program cannot be found from inside the chroot directory")
    });
    assert!(path.exists());
    fixture.stop().expect(0, STOPPED, "");
}

/// A variable that anybody can set opens nothing.
#[test]
fn a_variable_that_no_daemon_has_set() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    for value in ["", "channel=3", "channel=50", "channel=50 file=51 dir=51", "nonsense"] {
        let run = fixture.clone().set("before", "open").run(&["start"]);
        let output = run.env("DAEMONOCLE_RELOAD", value).finish();
        assert_eq!(output.code(), Some(1), "{output:?}");
        assert!(
            output.stderr.starts_with("ERROR: cannot make sense of DAEMONOCLE_RELOAD: "),
            "{output:?}"
        );
        sandbox.expect_nobody();
    }
    assert!(!fixture.pid_file().exists());
}

/// Whatever moment it comes at, a stop means the daemon, and not only the process that it was.
#[test]
fn a_stop_while_it_reloads() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads");
    for _ in 0..20 {
        fixture.started();
        tell(&fixture);
        fixture.stop().expect(0, STOPPED, "");
        fixture.status().expect(1, "example -- not running\n", "");
        sandbox.expect_nobody();
        assert!(!fixture.pid_file().exists());
    }
}

/// A successor that is killed at any moment leaves the old one, or has taken its place and is dead.
#[test]
fn a_successor_that_is_killed() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads");
    let mut old = fixture.started();
    for _ in 0..20 {
        tell(&fixture);
        let mut new = None;
        eventually("there is a new one", || {
            new = sandbox.survivors().into_iter().find(|pid| *pid != old);
            new.is_some() || !is_alive(old)
        });
        let _ = sandbox.try_signal(new.unwrap_or(old), Signal::KILL);
        // One that has handed over before is on its way out.
        let output = fixture.start();
        assert_eq!(output.code(), Some(0), "{output:?}");
        eventually("one is left, and everybody knows it", || {
            old = fixture.pid().unwrap_or_default();
            sandbox.survivors() == [old]
        });
        expect_running(&fixture, old);
    }
}

/// A start is over, and its daemon has the PID file, before that one has a successor.
#[test]
fn at_once() {
    for arguments in [&["start"][..], &["start", "--debug"]] {
        let sandbox = Sandbox::new();
        let fixture = reloading(&sandbox, "reloads");
        sandbox.write("plan", "early");
        let start = fixture.run(arguments).spawn();
        start.says(OK);
        eventually("the fourth one is here", || sandbox.read("out").contains("is here"));
        let pid = fixture.settled();
        assert_eq!(sandbox.read("out").lines().count(), 5);
        assert_eq!(sandbox.read("out").lines().last(), Some(&*format!("{pid} is here")));
        assert_eq!(fixture.hook_log(), RELOADED.repeat(3));
        fixture.stop().expect(0, STOPPED, "");
        start.finish();
        sandbox.expect_nobody();
    }
}

/// One that is started anew is not what the other one has become.
#[test]
fn a_stop_does_not_mean_the_next_one() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads");
    let first = fixture.started();
    let new = reload(&fixture, first);
    sandbox.signal(new, Signal::STOP);
    let stop = fixture.run(&["stop"]).spawn();
    eventually("it has been asked", || {
        u64::from_str_radix(&status_field(new, "ShdPnd"), 16).is_ok_and(|pending| pending != 0)
    });
    sandbox.signal(new, Signal::CONT);
    eventually("it has ended", || !is_alive(new));
    // While the stop may be looking what has become of it.
    let start = fixture.run(&["start", "--debug"]).spawn();
    stop.finish().expect(0, STOPPED, "");
    start.says(OK);
    let next = fixture.settled();
    assert!(is_alive(next) && next != new);
    fixture.stop().expect(0, STOPPED, "");
    start.finish();
}

#[test]
fn when_hup_comes() {
    let sandbox = Sandbox::new();
    let err = sandbox.path("err");
    let fixture = reloading(&sandbox, "reloads").set("on_hup", "yes").set("stderr", &err);
    let mut pid = fixture.started();
    for _ in 0..3 {
        let old = pid;
        sandbox.signal(old, Signal::HUP);
        eventually("a new one has it", || fixture.pid().is_some_and(|pid| pid != old));
        eventually("the old one is gone", || !is_alive(old));
        pid = fixture.settled();
    }
    assert_eq!(fixture.hook_log(), RELOADED.repeat(3));
    sandbox.write("plan", "exit");
    sandbox.signal(pid, Signal::HUP);
    let text = "ERROR: Child exited immediately with exit code 9\n";
    eventually("it has said why not", || sandbox.read("err").ends_with(text));
    expect_running(&fixture, pid);
    sandbox.write("plan", "");
    let new = reload(&fixture, pid);
    expect_running(&fixture, new);
    fixture.stop().expect(0, STOPPED, "");
}

/// A process that is the daemon's child already has its root directory: it is no less than the definition
/// says, or nothing.
#[test]
fn a_definition_that_has_got_a_root_directory() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("changes", sandbox.write("changes", ""));
    let pid = fixture.started();
    sandbox.write("changes", "CHROOT=/var\n");
    let why = "1: cannot change root directory to \"/var\" in a reload: restart it\n";
    assert_eq!(answer(&fixture), why);
    sandbox.write("changes", "");
    expect_running(&fixture, pid);
}

#[test]
fn a_definition_that_allows_core_dumps_no_more() {
    let sandbox = Sandbox::new();
    let fixture =
        reloading(&sandbox, "reloads").set("changes", sandbox.write("changes", "CORE=yes\n"));
    let script = "ulimit -c 8; exec \"$@\"";
    fixture.run(&["start"]).through(script).finish().expect(0, OK, "");
    let pid = fixture.pid().unwrap();
    if limit(pid, "Max core file size") == "0" {
        return skip("a_definition_that_allows_core_dumps_no_more", "no core dumps are to be had");
    }
    sandbox.write("changes", "");
    let pid = reload(&fixture, pid);
    assert_eq!(limit(pid, "Max core file size"), "0");
}
