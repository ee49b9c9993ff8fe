//! A running daemon costs nothing: no system call, no thread but the one that waits for signals.

use daemonocle_tests::{
    Sandbox, descriptors, eventually, skip, skip_unless_there_is, status_field,
};

#[test]
fn no_system_calls() {
    let name = "no_system_calls";
    if skip_unless_there_is("strace", name) || skip_unless_there_is("timeout", name) {
        return;
    }
    for worker in ["ready", "polite"] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture(worker);
        let pid = fixture.started();
        eventually("the start is over", || descriptors(pid)[&2] == "/dev/null");
        let log = sandbox.path("calls");
        let (log, pid) = (log.to_str().unwrap(), pid.to_string());
        let strace = ["strace", "-f", "-p", &pid, "-o", log];
        let watch = fixture.watch(&[&["timeout", "3"][..], &strace].concat()).finish();
        if !watch.stderr.contains("attached") {
            return skip(name, &format!("strace cannot attach: {}", watch.stderr.trim()));
        }
        // What the threads were waiting in when strace came, and still are when it goes.
        let calls = sandbox.read("calls");
        let made: Vec<_> = calls
            .lines()
            .filter(|line| !line.ends_with("<unfinished ...>") && !line.ends_with("<detached ...>"))
            .collect();
        assert!(made.is_empty(), "{worker}: {calls}");
        assert!(calls.lines().count() >= 2, "strace has seen both threads: {calls}");
    }
}

#[test]
fn two_threads() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready").started();
    assert_eq!(status_field(pid, "Threads"), "2");
}
