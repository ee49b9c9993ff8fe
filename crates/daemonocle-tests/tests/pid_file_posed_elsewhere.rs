//! Locks like those of a daemon that has lost its PID file, on another file that is trusted: somebody has it as his
//! standard output, for one.

use std::fs::{self, File};

use daemonocle_tests::{
    Fixture, Lock, Running, Sandbox, eventually, places, program, skip_unless_root,
    skip_unless_there_is,
};

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const ENEMY: &str = "12345";

/// Runs a command with the locks of the daemon on root's log.
fn pose(fixture: &Fixture<'_>, command: &[&str]) -> Running {
    let sandbox = fixture.sandbox();
    let (log, pid_file) = (sandbox.write("some.log", "text\n"), fixture.pid_file());
    let (log, pid_file) = (log.to_str().unwrap(), pid_file.to_str().unwrap());
    let pose = program("pose");
    let words = [&[pose.to_str().unwrap(), log, pid_file][..], command].concat();
    let running = fixture.watch(&words).spawn();
    let link = format!("/proc/{}/exe", running.pid());
    eventually("it is the command", || {
        fs::read_link(&link).is_ok_and(|exe| exe.ends_with("sleep"))
    });
    running
}

/// Makes marks for the daemon, as anybody can; they are there as long as this is open.
fn mark(fixture: &Fixture<'_>) -> File {
    let root = File::open("/").unwrap();
    for place in places(&fixture.pid_file()) {
        Lock::Read.take(&root, place..place + 1);
        let beside = place | (3 << 61);
        Lock::Read.take(&root, beside..beside + 1);
    }
    root
}

#[test]
fn by_a_process_of_another_user() {
    const NAME: &str = "by_a_process_of_another_user";
    if skip_unless_root(NAME) || skip_unless_there_is("setpriv", NAME) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let _marks = mark(&fixture);
    let setpriv = ["setpriv", "--reuid", ENEMY, "--regid", ENEMY, "--clear-groups"];
    let mut stranger = pose(&fixture, &[&setpriv[..], &["sleep", "600"]].concat());
    fixture.status().expect(1, "example -- not running\n", "");
    fixture.start().expect(0, OK, "");
    fixture.stop().expect(0, STOPPED, "");
    assert!(stranger.is_running());
}

/// Which a set-user-ID program can have made of one of somebody else's.
#[test]
fn by_a_process_of_our_own() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let _marks = mark(&fixture);
    let mut stranger = pose(&fixture, &["sleep", "600"]);
    let why = format!("PID {} may be the daemon that has lost it", stranger.pid());
    fixture.status().expect_error(1, "", &[&why]);
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &[&why]);
    fixture.run(&["stop", "--force", "--timeout", "0"]).finish().expect_error(1, "", &[&why]);
    assert!(stranger.is_running());
    assert!(!fixture.pid_file().exists());
}

/// Marks that somebody made before stand in front of the daemon's.
#[test]
fn a_worker_who_is_somebody_else_by_now_behind_other_marks() {
    const NAME: &str = "a_worker_who_is_somebody_else_by_now_behind_other_marks";
    if skip_unless_root(NAME) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("changes-user").unset("hook_log");
    let _marks = mark(&fixture);
    let pid = fixture.started();
    fs::remove_file(fixture.pid_file()).unwrap();
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let why = format!("already running with PID {pid}");
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &[&why]);
    fixture.stop().expect(0, STOPPED, "");
}
