//! `stop --force`: what does not end when asked is killed, and nothing else is.

use daemonocle_tests::{Sandbox, is_alive};
use rustix::process::Signal;

#[test]
fn a_daemon_that_does_not_listen_is_killed_after_the_time_out() {
    let sandbox = Sandbox::new();
    for worker in ["deaf", "stubborn"] {
        let fixture = sandbox.fixture(worker);
        let pid = fixture.started();
        let text = format!("ERROR: Timed out while waiting for process (PID {pid}) to terminate\n");
        fixture.run(&["stop", "--timeout", "0.3", "--force"]).finish().expect(
            0,
            "Stopping example ... FAILED\nKilling example ... OK\n",
            &text,
        );
        assert!(!is_alive(pid), "{worker}");
        assert_eq!(sandbox.names(), Vec::<String>::new(), "{worker}");
    }
}

#[test]
fn a_daemon_that_listens_is_only_asked() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    fixture.started();
    fixture.run(&["stop", "--force"]).finish().expect(0, "Stopping example ... OK\n", "");
    assert_eq!(fixture.hook_log(), "0|Terminated by SIGTERM (15)\n");
}

#[test]
fn a_time_out_of_zero_kills_at_once_and_still_sees_the_end() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("stubborn");
    let pid = fixture.started();
    let output = fixture.run(&["stop", "--timeout", "0", "--force"]).finish();
    output.expect_error(0, "Stopping example ... FAILED\nKilling example ... OK\n", &["Timed out"]);
    assert!(!is_alive(pid));
}

#[test]
fn a_daemon_that_a_signal_has_stopped_can_be_killed() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    sandbox.signal(pid, Signal::STOP);
    fixture.run(&["stop", "--timeout", "0.2"]).finish();
    assert!(is_alive(pid));
    let output = fixture.run(&["stop", "--timeout", "0.2", "--force"]).finish();
    output.expect_error(0, "Stopping example ... FAILED\nKilling example ... OK\n", &["Timed out"]);
    assert!(!is_alive(pid));
}

#[test]
fn not_running_is_no_failure() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let output = fixture.run(&["stop", "--force"]).finish();
    output.expect(0, "", "WARNING: example is not running\n");
}
