//! A start that meets a running daemon: its PID, exit 0, and nothing done.

use daemonocle_tests::{Sandbox, eventually, is_alive, stat};
use rustix::process::Signal;

#[test]
fn it_is_told_and_that_is_all() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let text = format!("WARNING: example already running with PID {pid}\n");
    for _ in 0..3 {
        fixture.start().expect(0, "", &text);
    }
    assert_eq!(sandbox.survivors(), [pid]);
    assert_eq!(fixture.pid(), Some(pid));
    assert_eq!(fixture.hook_log(), "");
}

#[test]
fn in_the_foreground_too() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let text = format!("WARNING: example already running with PID {pid}\n");
    fixture.run(&["start", "--debug"]).finish().expect(0, "", &text);
    assert_eq!(sandbox.survivors(), [pid]);
}

#[test]
fn a_daemon_in_the_foreground_counts() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let running = fixture.foreground();
    running.says("Starting example ... OK\n");
    let pid = fixture.settled();
    let text = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &text);
    assert!(is_alive(pid));
}

#[test]
fn the_name_does_not_matter_but_the_pid_file() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready").started();
    let other = sandbox.fixture("ready").set("name", "other");
    let text = format!("WARNING: other already running with PID {pid}\n");
    other.start().expect(0, "", &text);
    let elsewhere = sandbox.fixture("ready").set("pid_file", sandbox.path("other.pid"));
    assert_ne!(elsewhere.started(), pid);
}

#[test]
fn a_daemon_that_opened_and_closed_its_own_pid_file_still_counts() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("reopen");
    let pid = fixture.started();
    let text = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &text);
    assert_eq!(fixture.status().code(), Some(0));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
}

#[test]
fn a_daemon_that_was_stopped_by_a_signal_is_running() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    sandbox.signal(pid, rustix::process::Signal::STOP);
    let text = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &text);
}

#[test]
fn a_dead_one_does_not_count() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let dead = fixture.started();
    sandbox.kill(dead);
    let pid = fixture.started();
    assert_ne!(pid, dead);
    assert!(is_alive(pid));
}

#[test]
fn a_dying_one_does_not_count() {
    let sandbox = Sandbox::new();
    let heavy = sandbox.fixture("heavy");
    let fixture = sandbox.fixture("ready");
    for _ in 0..3 {
        let dying = heavy.started();
        sandbox.signal(dying, rustix::process::Signal::KILL);
        eventually("it is dying", || stat(dying).is_none_or(|stat| stat.is_exiting));
        fixture.start().expect(0, "Starting example ... OK\n", "");
        assert!(!is_alive(dying));
        assert!(is_alive(fixture.pid().unwrap()));
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
    }
}

#[test]
fn one_that_has_cleaned_up_and_is_dying_does_not_count() {
    let sandbox = Sandbox::new();
    let heavy = sandbox.fixture("heavy");
    let fixture = sandbox.fixture("ready");
    let dying = heavy.started();
    sandbox.signal(dying, rustix::process::Signal::TERM);
    eventually("it has cleaned up", || !sandbox.path("example.pid").exists());
    fixture.start().expect(0, "Starting example ... OK\n", "");
}

#[test]
fn a_child_that_outlives_the_daemon_is_not_the_daemon() {
    for worker in ["child-fork", "child-sleep"] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture(worker).set("child_pid", sandbox.path("child"));
        let dead = fixture.started();
        let child: i32 = sandbox.read("child").parse().unwrap();
        sandbox.kill(dead);
        assert!(is_alive(child), "{worker}");
        fixture.status().expect(1, "example -- not running\n", "");
        fixture.stop().expect(0, "", "WARNING: example is not running\n");
        assert!(is_alive(child), "{worker}");
        assert_ne!(fixture.started(), dead);
    }
}

#[test]
fn one_that_is_ending_is_waited_for() {
    let sandbox = Sandbox::new();
    let fixture =
        sandbox.fixture("ready").set("hook", "hang").set("ready", "0.3").set("stop", "0.2");
    let pid = fixture.started();
    sandbox.signal(pid, Signal::TERM);
    eventually("the hook runs", || !fixture.hook_log().is_empty());
    let text = format!("ERROR: timed out while waiting for process (PID {pid}), which is ending\n");
    fixture.start().expect(1, "Starting example ... FAILED\n", &text);
    let patient = sandbox.fixture("ready");
    let mut start = patient.run(&["start"]).spawn();
    assert!(start.is_running());
    sandbox.kill(pid);
    start.finish().expect(0, "Starting example ... OK\n", "");
    assert_ne!(patient.pid(), Some(pid));
}

#[test]
fn one_that_has_been_asked_to_end_is_waited_for() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite-slow").set("fifo", sandbox.make_fifo("fifo"));
    let fixture = fixture.set("stdout", sandbox.path("out"));
    let pid = fixture.started();
    sandbox.signal(pid, Signal::TERM);
    eventually("it closes", || sandbox.read("out").contains("closing"));
    let impatient = sandbox.fixture("ready").set("stop", "0.1");
    let text = format!("ERROR: timed out while waiting for process (PID {pid}), which is ending\n");
    impatient.start().expect(1, "Starting example ... FAILED\n", &text);
    let patient = sandbox.fixture("ready");
    let start = patient.run(&["start"]).spawn();
    std::fs::write(sandbox.path("fifo"), "").unwrap();
    start.finish().expect(0, "Starting example ... OK\n", "");
    assert_ne!(patient.pid(), Some(pid));
}

/// A process that was killed may not have noticed yet.
#[test]
fn one_that_was_killed_just_now_does_not_count() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    for _ in 0..30 {
        let pid = fixture.started();
        sandbox.signal(pid, Signal::KILL);
        fixture.start().expect(0, "Starting example ... OK\n", "");
        assert!(!is_alive(pid));
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
    }
}
