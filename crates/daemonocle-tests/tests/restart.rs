//! `restart`: a stop, and if that succeeded a start.

use daemonocle_tests::{Sandbox, is_alive};

const BOTH: &str = "Stopping example ... OK\nStarting example ... OK\n";

#[test]
fn another_daemon_runs_afterwards() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let before = fixture.started();
    fixture.restart().expect(0, BOTH, "");
    let after = fixture.pid().unwrap();
    assert_ne!(before, after);
    assert!(!is_alive(before));
    assert_eq!(sandbox.survivors(), [after]);
    assert_eq!(fixture.hook_log(), "143|Terminated by SIGTERM (15)\n");
}

#[test]
fn one_that_was_not_running_is_started() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let text = "WARNING: example is not running\n";
    fixture.restart().expect(0, "Starting example ... OK\n", text);
    assert!(is_alive(fixture.pid().unwrap()));
}

#[test]
fn one_that_does_not_stop_is_not_started_again() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("stubborn");
    let pid = fixture.started();
    let text = format!("ERROR: Timed out while waiting for process (PID {pid}) to terminate\n");
    let output = fixture.run(&["restart", "--timeout", "0.2"]).finish();
    output.expect(1, "Stopping example ... FAILED\n", &text);
    assert_eq!(sandbox.survivors(), [pid]);
}

#[test]
fn with_force_it_is() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("stubborn");
    let pid = fixture.started();
    let text = format!("ERROR: Timed out while waiting for process (PID {pid}) to terminate\n");
    let output = fixture.run(&["restart", "--timeout", "0.2", "--force"]).finish();
    let words = "Stopping example ... FAILED\nKilling example ... OK\nStarting example ... OK\n";
    output.expect(0, words, &text);
    assert!(!is_alive(pid));
    assert_eq!(sandbox.survivors(), [fixture.pid().unwrap()]);
}

#[test]
fn a_failing_start_gives_its_exit_code() {
    let sandbox = Sandbox::new();
    sandbox.fixture("ready").started();
    let text = "ERROR: Child exited immediately with exit code 42\n";
    let words = "Stopping example ... OK\nStarting example ... FAILED\n";
    sandbox.fixture("end-code").restart().expect(42, words, text);
    sandbox.expect_nobody();
}

#[test]
fn a_wrong_definition_is_told_while_the_old_daemon_still_runs() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready").started();
    let wrong = sandbox.fixture("ready").set("work_dir", sandbox.path("none"));
    wrong.restart().expect_error(1, "", &["ERROR: working directory"]);
    assert!(is_alive(pid));
}

#[test]
fn into_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    let before = fixture.started();
    let running = fixture.run(&["restart", "--debug"]).spawn();
    running.says(BOTH);
    let after = fixture.settled();
    assert_ne!(before, after);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    let all = format!("{BOTH}All children are gone. Parent is exiting...\n");
    running.finish().expect(0, &all, "");
}
