//! The shutdown hook: exactly once at every end that can be caught, with reason and exit code.

use std::fs;

use daemonocle_tests::{Fixture, Sandbox, eventually, is_alive};
use rustix::process::Signal;

const TERM: &str = "143|Terminated by SIGTERM (15)\n";

/// Starts a daemon that is going to end as `worker` says, lets it, and gives the hook's log.
#[track_caller]
fn end(worker: &str) -> String {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture(worker).set("trigger", &fifo);
    let pid = fixture.started();
    assert_eq!(fixture.hook_log(), "");
    fs::write(&fifo, "").unwrap();
    eventually("the daemon has ended", || !is_alive(pid));
    assert!(!sandbox.path("example.pid").exists(), "cleaned up");
    fixture.hook_log()
}

/// Sends a signal to a daemon and gives the hook's log after its end.
#[track_caller]
fn signalled(worker: &str, signal: Signal) -> String {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture(worker);
    let pid = fixture.started();
    sandbox.signal(pid, signal);
    eventually("the daemon has ended", || !is_alive(pid));
    assert!(!sandbox.path("example.pid").exists(), "cleaned up");
    fixture.hook_log()
}

#[test]
fn each_end_has_its_reason_and_code() {
    for (worker, log) in [
        ("end-ok", "0|Shutting down normally\n"),
        ("end-code", "42|Exiting with non-zero exit code 42\n"),
        ("end-code-0", "0|Shutting down normally\n"),
        ("end-message", "1|Exiting with message: no more cookies\n"),
        (
            "end-error",
            "1|Exiting with message: cannot open the cookie jar: \
             No such file or directory (os error 2)\n",
        ),
        ("end-panic", "101|Dying due to unhandled panic: all cookies are gone\n"),
        ("end-exit", "42|Exiting with non-zero exit code 42\n"),
        ("end-exit-0", "0|Shutting down normally\n"),
        ("end-exit-thread", "43|Exiting with non-zero exit code 43\n"),
    ] {
        assert_eq!(end(worker), log, "{worker}");
    }
}

#[test]
fn each_signal_has_its_name() {
    for (signal, log) in [
        (Signal::TERM, "143|Terminated by SIGTERM (15)\n"),
        (Signal::INT, "130|Terminated by SIGINT (2)\n"),
        (Signal::QUIT, "131|Terminated by SIGQUIT (3)\n"),
        (Signal::HUP, "129|Terminated by SIGHUP (1)\n"),
    ] {
        assert_eq!(signalled("ready", signal), log);
    }
}

#[test]
fn a_worker_that_listens_decides_the_code() {
    assert_eq!(signalled("polite", Signal::TERM), "0|Terminated by SIGTERM (15)\n");
    assert_eq!(signalled("polite", Signal::INT), "0|Terminated by SIGINT (2)\n");
    let log = signalled("polite-failure", Signal::TERM);
    assert_eq!(log, "7|Exiting with non-zero exit code 7\n");
}

#[test]
fn a_worker_that_computes_is_ended_all_the_same() {
    assert_eq!(signalled("burn", Signal::TERM), TERM);
    assert_eq!(signalled("threads", Signal::TERM), TERM);
}

#[test]
fn only_the_listed_signals_end_the_daemon() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("end_on", "10,15");
    let pid = fixture.started();
    sandbox.signal(pid, Signal::USR1);
    eventually("the daemon has ended", || !is_alive(pid));
    assert_eq!(fixture.hook_log(), "138|Terminated by SIGUSR1 (10)\n");
}

#[test]
fn a_kill_leaves_no_time_for_it() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    sandbox.kill(pid);
    assert_eq!(fixture.hook_log(), "");
}

fn hanging(sandbox: &Sandbox) -> (Fixture<'_>, i32) {
    let fixture = sandbox.fixture("ready").set("hook", "hang");
    let pid = fixture.started();
    sandbox.signal(pid, Signal::TERM);
    eventually("the hook runs", || fixture.hook_log() == TERM);
    (fixture, pid)
}

#[test]
fn a_second_signal_ends_a_hook_that_hangs() {
    for second in [Signal::TERM, Signal::INT] {
        let sandbox = Sandbox::new();
        let (fixture, pid) = hanging(&sandbox);
        assert!(is_alive(pid));
        sandbox.signal(pid, second);
        eventually("the daemon has ended", || !is_alive(pid));
        assert_eq!(fixture.hook_log(), TERM, "once");
        assert!(!sandbox.path("example.pid").exists(), "cleaned up");
    }
}

#[test]
fn a_second_signal_ends_a_worker_that_does_not_return() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("deaf");
    let pid = fixture.started();
    // Not a second SIGTERM: two of a kind that come at once are one.
    sandbox.signal(pid, Signal::INT);
    sandbox.signal(pid, Signal::TERM);
    eventually("the daemon has ended", || !is_alive(pid));
    // Handlers nest: of two signals that come at once, the last one may be told first.
    let log = fixture.hook_log();
    assert!(log == TERM || log == "130|Terminated by SIGINT (2)\n", "{log}");
}

#[test]
fn a_panic_in_the_hook_does_not_hide_the_reason() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite-failure").set("hook", "panic");
    let running = fixture.foreground();
    running.says("OK\n");
    sandbox.signal(fixture.settled(), Signal::TERM);
    let output = running.finish();
    assert_eq!(output.code(), Some(7), "{output:?}");
    assert!(output.stderr.contains("the hook panicked"), "{output:?}");
    assert_eq!(fixture.hook_log(), "7|Exiting with non-zero exit code 7\n");
    assert!(!sandbox.path("example.pid").exists(), "cleaned up");
}

#[test]
fn a_hook_may_call_exit() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("hook", "exit");
    let running = fixture.foreground();
    running.says("OK\n");
    sandbox.signal(fixture.settled(), Signal::TERM);
    assert_eq!(running.finish().code(), Some(77));
    assert_eq!(fixture.hook_log(), TERM, "once");
    assert!(!sandbox.path("example.pid").exists(), "cleaned up");
}

/// exit(3) in the worker waits for the thread of the hook, and all that it has of its own.
#[test]
fn the_thread_of_a_hook_is_waited_for() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-exit").set("hook", "leave");
    fixture.start();
    sandbox.expect_nobody();
    assert_eq!(fixture.hook_log(), "42|Exiting with non-zero exit code 42\nleft\n");
}

#[test]
fn a_panic_that_panics_once_more_changes_nothing_either() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("hook", "trap");
    fixture.started();
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    sandbox.expect_nobody();
    assert!(!fixture.pid_file().exists());
    let output = sandbox.fixture("end-exit").set("hook", "trap").start();
    assert!(output.stderr.contains("exit code 42"), "{output:?}");
    sandbox.expect_nobody();
}

#[test]
fn exit_in_a_forked_child_does_not_run_it() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-fork-exit").set("child_pid", sandbox.path("child"));
    let pid = fixture.started();
    assert_eq!(fixture.hook_log(), "");
    assert_eq!(fixture.pid(), Some(pid), "the PID file stays as well");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert_eq!(fixture.hook_log(), TERM);
}

#[test]
fn a_signal_to_a_forked_child_is_none_to_the_daemon() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-fork").set("child_pid", sandbox.path("child"));
    let pid = fixture.started();
    let child: i32 = sandbox.read("child").parse().unwrap();
    sandbox.signal(child, Signal::TERM);
    eventually("the child has ended", || !is_alive(child));
    assert!(is_alive(pid));
    assert_eq!(fixture.hook_log(), "");
    assert_eq!(fixture.pid(), Some(pid));
    assert_eq!(fixture.status().code(), Some(0));
}

#[test]
fn it_runs_for_a_worker_that_dies_at_start_up() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-code");
    assert_eq!(fixture.start().code(), Some(42));
    assert_eq!(fixture.hook_log(), "42|Exiting with non-zero exit code 42\n");
}

#[test]
fn a_burst_of_signals_does_not_run_it_twice() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let mut signals = [Signal::TERM, Signal::INT, Signal::HUP, Signal::TERM].into_iter();
    // Once it is gone, there is nobody left to be signalled.
    while is_alive(pid)
        && let Some(signal) = signals.next()
    {
        let _ = sandbox.try_signal(pid, signal);
    }
    eventually("the daemon has ended", || !is_alive(pid));
    // The second signal may come before the hook has done anything.
    assert!(fixture.hook_log().lines().count() <= 1, "{}", fixture.hook_log());
    assert!(!sandbox.path("example.pid").exists(), "cleaned up");
}

/// As systemd does with `SendSIGHUP=`, and a terminal that is closed.
#[test]
fn two_signals_in_a_row_do_not_skip_it() {
    let mut logs = Vec::new();
    for _ in 0..20 {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready");
        let pid = fixture.started();
        sandbox.signal(pid, Signal::TERM);
        // It may be gone already.
        let _ = sandbox.try_signal(pid, Signal::HUP);
        eventually("the daemon has ended", || !is_alive(pid));
        logs.push(fixture.hook_log().lines().count());
    }
    assert_eq!(logs, [1; 20]);
}

#[test]
fn without_signals_of_its_own_a_daemon_ends_by_them_without_the_hook() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("end_on", "");
    let pid = fixture.started();
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    assert_eq!(fixture.hook_log(), "");
}

/// It is not the daemon's end.
#[test]
fn not_in_a_child_that_returns_from_the_worker_as_well() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-returns").set("child_pid", sandbox.path("child"));
    fixture.started();
    assert_eq!(fixture.hook_log(), "");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert_eq!(fixture.hook_log(), "143|Terminated by SIGTERM (15)\n");
}
