//! A daemon whose main thread has ended while others go on (pthread_exit(3)): alive, although it looks like a
//! zombie in /proc.

use std::fs;
use std::os::unix::fs::chown;

use daemonocle_tests::{
    Fixture, Pid, Sandbox, eventually, exec, is_alive, skip_unless_root, skip_unless_there_is,
    status_field,
};
use rustix::process::Signal;

const STOPPED: &str = "Stopping example ... OK\n";

/// Starts it; its PID, once its main thread has ended.
#[track_caller]
fn started(fixture: &Fixture<'_>) -> Pid {
    let pid = fixture.started();
    eventually("its main thread has ended", || status_field(pid, "State").starts_with('Z'));
    assert_ne!(status_field(pid, "Threads"), "1");
    pid
}

#[track_caller]
fn expect_running(fixture: &Fixture<'_>, pid: Pid) {
    let status = fixture.status();
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let status = fixture.run(&["status", "--json"]).finish();
    assert!(status.stdout.contains(&format!("\"pid\": {pid}")), "{status:?}");
}

#[track_caller]
fn expect_truth(sandbox: &Sandbox, fixture: &Fixture<'_>) {
    let pid = started(fixture);
    expect_running(fixture, pid);
    let warning = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &warning);
    fixture.run(&["stop", "--force"]).finish();
    eventually("it is gone", || !is_alive(pid));
    sandbox.expect_nobody();
    fixture.start().expect(0, "Starting example ... OK\n", "");
    let pid = fixture.pid().unwrap();
    sandbox.signal(pid, Signal::KILL);
    eventually("it is gone", || fixture.status().stdout.contains("not running"));
}

#[test]
fn it_is_running() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("headless").unset("hook_log").set("stop", "2");
    expect_truth(&sandbox, &fixture);
}

#[test]
fn it_is_found_without_its_file() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("headless").unset("hook_log");
    let pid = started(&fixture);
    fs::remove_file(fixture.pid_file()).unwrap();
    expect_running(&fixture, pid);
    let why = format!("already running with PID {pid}");
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &[&why]);
    fixture.stop().expect(0, STOPPED, "");
    eventually("it is gone", || !is_alive(pid));
}

#[test]
fn it_is_found_without_its_directory() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    let fixture = sandbox.fixture("headless").unset("hook_log");
    let fixture = fixture.set("pid_file", dir.join("example.pid"));
    let pid = started(&fixture);
    fs::rename(&dir, sandbox.path("elsewhere")).unwrap();
    sandbox.make_dir("dir", 0o755);
    expect_running(&fixture, pid);
    let why = format!("already running with PID {pid}");
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &[&why]);
    fixture.stop().expect(0, STOPPED, "");
}

/// To whom the kernel shows no files of a thread that has ended, not even no files.
#[test]
fn it_is_found_by_an_ordinary_user() {
    const USER: u32 = 12346;
    if skip_unless_root("it_is_found_by_an_ordinary_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o700);
    chown(&dir, Some(USER), Some(USER)).unwrap();
    let fixture = sandbox.fixture("headless").unset("hook_log").by_user(USER);
    let fixture = fixture.set("pid_file", dir.join("example.pid"));
    let pid = started(&fixture);
    fs::remove_file(fixture.pid_file()).unwrap();
    expect_running(&fixture, pid);
    fixture.stop().expect(0, STOPPED, "");
}

#[test]
fn so_is_a_program() {
    if skip_unless_there_is("python3", "so_is_a_program") {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "import ctypes, threading, time\n\
                  threading.Thread(target=time.sleep, args=(600,)).start()\n\
                  ctypes.CDLL(None).pthread_exit(None)";
    // A line is a word there.
    let script = sandbox.write("headless.py", script);
    let fixture = exec(&sandbox, &["python3", script.to_str().unwrap()]).set("stop", "2");
    expect_truth(&sandbox, &fixture);
}
