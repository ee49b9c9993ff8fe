//! A running daemon costs nothing: no system call, no thread but the one that waits for signals.

use daemonocle_tests::{Calls, Sandbox, descriptors, eventually, status_field};

#[test]
fn no_system_calls() {
    for worker in ["ready", "polite"] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture(worker);
        let pid = fixture.started();
        eventually("the start is over", || descriptors(pid)[&2] == "/dev/null");
        let Some(calls) = Calls::of(&[pid], &fixture, "no_system_calls") else {
            return;
        };
        assert!(calls.made.is_empty(), "{worker}: {calls:?}");
        assert!(calls.threads >= 2, "strace has seen both threads: {calls:?}");
    }
}

#[test]
fn two_threads() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready").started();
    assert_eq!(status_field(pid, "Threads"), "2");
}
