//! A kernel or a seccomp filter without pidfd_open(2): what can do without it does, and nobody is
//! signalled by a number that might have come to mean somebody else.

use daemonocle_tests::{Fixture, Sandbox, eventually, is_alive, status_field};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const GONE: &str = "All children are gone. Parent is exiting...\n";

/// A daemon all of whose processes have to do without pidfds.
fn without<'a>(sandbox: &'a Sandbox, worker: &str) -> Fixture<'a> {
    sandbox.fixture(worker).set("before", "no-pidfds")
}

#[test]
fn it_starts_and_has_a_status() {
    let sandbox = Sandbox::new();
    let fixture = without(&sandbox, "ready");
    let pid = fixture.started();
    assert_eq!(status_field(pid, "Seccomp"), "2", "the filter is there");
    let status = fixture.status();
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let text = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &text);
    eventually("nobody but the daemon stays", || sandbox.survivors() == [pid]);
}

#[test]
fn a_start_that_fails_gives_the_reason_and_leaves_nothing() {
    for (worker, code, reason) in [
        ("end-code", 42, "exit code 42"),
        ("end-message", 1, "exit code 1: no more cookies"),
        ("end-kill", 137, "exit code 137: SIGKILL (9)"),
    ] {
        let sandbox = Sandbox::new();
        let text = format!("ERROR: Child exited immediately with {reason}\n");
        let output = without(&sandbox, worker).start();
        output.expect(code, "Starting example ... FAILED\n", &text);
        sandbox.expect_nobody();
        assert!(!sandbox.path("example.pid").exists());
    }
}

#[test]
fn a_start_that_takes_too_long_is_ended() {
    let sandbox = Sandbox::new();
    let fixture = without(&sandbox, "stubborn-sleep").set("ready", "0.2").set("stop", "0.2");
    let text = "ERROR: Timed out: the daemon was not ready within 200ms\n";
    fixture.start().expect(1, "Starting example ... FAILED\n", text);
    sandbox.expect_nobody();
    assert!(!sandbox.path("example.pid").exists());
}

#[test]
fn a_stop_refuses_and_signals_nobody() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let text =
        format!("ERROR: cannot signal example (PID {pid}) safely: Function not implemented\n");
    let without = without(&sandbox, "ready");
    for arguments in [&["stop"][..], &["stop", "--force", "--timeout", "0"], &["restart"]] {
        let output = without.run(arguments).finish();
        output.expect_error(1, "", &[&text]);
    }
    // Signals come in order: had there been one before this, it would be the reason.
    sandbox.signal(pid, Signal::INT);
    eventually("the daemon has ended", || !is_alive(pid));
    assert_eq!(fixture.hook_log(), "130|Terminated by SIGINT (2)\n");
    // Nobody is left to be signalled, and to know that takes no pidfd.
    without.stop().expect(0, "", "WARNING: example is not running\n");
}

#[test]
fn the_foreground_ends_as_the_worker_does() {
    for (worker, code) in [("end-ok", 0), ("end-code", 42)] {
        let sandbox = Sandbox::new();
        let fifo = sandbox.make_fifo("fifo");
        let fixture = without(&sandbox, worker).set("trigger", &fifo);
        let running = fixture.foreground();
        running.says(OK);
        std::fs::write(&fifo, "").unwrap();
        running.finish().expect(code, &format!("{OK}{GONE}"), "");
        sandbox.expect_nobody();
        assert!(!sandbox.path("example.pid").exists());
    }
}

#[test]
fn the_foreground_still_waits_for_its_process_group() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture =
        without(&sandbox, "child-waits").set("fifo", &fifo).set("child_pid", sandbox.path("child"));
    let running = fixture.run(&["start", "--debug"]).under(&["setsid", "--wait"]).spawn();
    running.says(OK);
    let daemon = fixture.settled();
    let child: i32 = sandbox.read("child").parse().unwrap();
    sandbox.signal(daemon, Signal::TERM);
    eventually("the daemon has ended", || !is_alive(daemon));
    assert!(is_alive(child) && !running.stdout().contains(GONE));
    std::fs::write(&fifo, "go\n").unwrap();
    running.finish().expect(0, &format!("{OK}{GONE}"), "");
    assert!(!is_alive(child));
}
