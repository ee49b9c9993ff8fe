//! Somebody dies in the middle of a start: there must be no daemon then, and nothing in the way of
//! the next one.

use std::time::Duration;

use daemonocle_tests::{
    Fixture, Pid, Running, Sandbox, eventually, is_alive, stat, takes_less_than,
};
use rustix::process::Signal;

/// A start whose worker is running and not yet ready, and the PID of the new daemon.
#[track_caller]
fn under_way(fixture: &Fixture<'_>) -> (Running, Pid) {
    let running = fixture.run(&["start"]).spawn();
    eventually("the worker runs", || !fixture_log(fixture).is_empty());
    (running, fixture.pid().unwrap())
}

fn fixture_log(fixture: &Fixture<'_>) -> String {
    fixture.sandbox().read("start.log")
}

fn slow<'a>(sandbox: &'a Sandbox, worker: &str) -> Fixture<'a> {
    let log = sandbox.path("start.log");
    sandbox.fixture(worker).set("ready", "60").set("on_start", "log").set("start_log", log)
}

#[track_caller]
fn works_again(sandbox: &Sandbox) {
    sandbox.expect_nobody();
    assert!(is_alive(sandbox.fixture("ready").started()));
}

#[test]
fn the_command_itself() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "sleep");
    let (start, daemon) = under_way(&fixture);
    sandbox.kill(start.pid());
    eventually("the daemon has ended", || !is_alive(daemon));
    sandbox.expect_nobody();
    let log = "1|Exiting with message: its start was given up\n";
    assert_eq!(fixture.hook_log(), log);
    assert!(!sandbox.path("example.pid").exists());
    works_again(&sandbox);
}

#[test]
fn ctrl_c_in_the_command() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "sleep");
    let (start, daemon) = under_way(&fixture);
    sandbox.signal(start.pid(), Signal::INT);
    assert_eq!(start.finish().signal(), Some(libc::SIGINT));
    eventually("the daemon has ended", || !is_alive(daemon));
    works_again(&sandbox);
}

#[test]
fn the_process_between() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "sleep");
    let (start, daemon) = under_way(&fixture);
    let guardian = stat(daemon).unwrap().parent;
    assert_ne!(guardian, start.pid());
    sandbox.kill(guardian);
    let output = start.finish();
    output.expect_error(1, "Starting example ... FAILED\n", &["ERROR: "]);
    works_again(&sandbox);
}

#[test]
fn the_process_between_is_missed_at_once() {
    assert!(takes_less_than(Duration::from_secs(3), || {
        let sandbox = Sandbox::new();
        let fixture = slow(&sandbox, "sleep");
        let (start, daemon) = under_way(&fixture);
        sandbox.kill(stat(daemon).unwrap().parent);
        assert_eq!(start.finish().code(), Some(1));
    }));
}

#[test]
fn the_process_between_is_not_waited_for_when_it_is_stopped() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "ready-late").set("fifo", sandbox.make_fifo("fifo"));
    let (start, daemon) = under_way(&fixture);
    let guardian = stat(daemon).unwrap().parent;
    eventually("it has told of the daemon", || stat(guardian).unwrap().state == 'S');
    sandbox.signal(guardian, Signal::STOP);
    sandbox.write("fifo", "");
    start.finish().expect(0, "Starting example ... OK\n", "");
    eventually("it is gone", || !is_alive(guardian));
    assert!(is_alive(daemon));
}

/// Somebody has stopped it, and the start fails: it has to end a daemon that does not end by itself.
#[test]
fn the_process_between_is_stopped_in_a_start_that_fails() {
    assert!(takes_less_than(Duration::from_secs(4), || {
        let sandbox = Sandbox::new();
        let fixture = slow(&sandbox, "stubborn-sleep").set("ready", "0.5").set("stop", "0.3");
        let (start, daemon) = under_way(&fixture);
        let guardian = stat(daemon).unwrap().parent;
        eventually("it has told of the daemon", || stat(guardian).unwrap().state == 'S');
        sandbox.signal(guardian, Signal::STOP);
        let why = ["the daemon was not ready within 500ms"];
        start.finish().expect_error(1, "Starting example ... FAILED\n", &why);
        assert!(!is_alive(daemon));
        works_again(&sandbox);
    }));
}

#[test]
fn a_daemon_that_is_stopped_while_it_comes_up() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "sleep").set("ready", "0.5").set("stop", "0.3");
    let (start, daemon) = under_way(&fixture);
    sandbox.signal(daemon, Signal::STOP);
    let why = ["the daemon was not ready within 500ms"];
    start.finish().expect_error(1, "Starting example ... FAILED\n", &why);
    assert!(!is_alive(daemon));
    works_again(&sandbox);
}

/// The command is stopped: others are told the truth, do not wait for ever, and its own end is that of the daemon.
#[test]
fn the_command_is_stopped() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "ready-late").set("fifo", sandbox.make_fifo("fifo"));
    let (start, daemon) = under_way(&fixture);
    sandbox.signal(start.pid(), Signal::STOP);
    sandbox.write("fifo", "");
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {daemon}, ")), "{status:?}");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(daemon));
    fixture.status().expect(1, "example -- not running\n", "");
    let second = sandbox.fixture("ready").started();
    sandbox.signal(start.pid(), Signal::CONT);
    let why = ["Child exited immediately with exit code 143: SIGTERM (15)\n"];
    start.finish().expect_error(143, "Starting example ... FAILED\n", &why);
    assert!(is_alive(second));
    assert_eq!(fixture.pid(), Some(second));
}

/// It is dead, the start fails, and the daemon does not end by itself.
#[test]
fn the_process_between_of_a_daemon_that_does_not_end() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "sleep").set("hook", "hang").set("stop", "0.3");
    let (start, daemon) = under_way(&fixture);
    sandbox.kill(stat(daemon).unwrap().parent);
    start.finish().expect_error(1, "Starting example ... FAILED\n", &["ERROR: "]);
    assert!(!is_alive(daemon));
    works_again(&sandbox);
}

#[test]
fn the_daemon() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "sleep");
    let (start, daemon) = under_way(&fixture);
    sandbox.kill(daemon);
    let text = "ERROR: Child exited immediately with exit code 137: SIGKILL (9)\n";
    start.finish().expect(137, "Starting example ... FAILED\n", text);
    assert_eq!(sandbox.names(), ["start.log"]);
    works_again(&sandbox);
}

#[test]
fn the_command_while_others_wait_for_it() {
    let sandbox = Sandbox::new();
    let fixture = slow(&sandbox, "sleep");
    let (start, _) = under_way(&fixture);
    let ready = sandbox.fixture("ready");
    let waiting = ready.run(&["start"]).spawn();
    sandbox.kill(start.pid());
    waiting.finish().expect(0, "Starting example ... OK\n", "");
    let pid = ready.pid().unwrap();
    eventually("one is left", || sandbox.survivors() == [pid]);
}

#[test]
fn a_daemon_that_is_ready_outlives_the_command() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    for _ in 0..10 {
        let start = fixture.run(&["start"]).spawn();
        start.says("OK\n");
        let _ = sandbox.try_signal(start.pid(), Signal::KILL);
        start.finish();
        let pid = fixture.pid().unwrap();
        assert_eq!(fixture.status().code(), Some(0), "it was told OK");
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        assert!(!is_alive(pid));
    }
}
