//! Whatever a new daemon does instead of coming up, its start has an end.

use std::time::{Duration, Instant};

use daemonocle_tests::{
    Fixture, Pid, Run, Sandbox, eventually, is_alive, skip, skip_unless_there_is, stat,
};
use rustix::process::Signal;

const FAILED: &str = "Starting example ... FAILED\n";

/// A start that fails with this output, after `limit`, and before any other time-out: the harness waits
/// for less than those.
#[track_caller]
fn fails(fixture: &Fixture<'_>, run: Run, limit: Duration, code: i32, parts: &[&str]) {
    let began = Instant::now();
    let output = run.finish();
    let took = began.elapsed();
    output.expect_error(code, FAILED, parts);
    assert!(limit <= took, "{took:?}");
    assert!(!fixture.pid_file().exists());
}

/// A start that takes so long to read that the pipe is full again whenever it has.
fn slow(fixture: &Fixture<'_>, name: &str) -> Option<Run> {
    if skip_unless_there_is("strace", name) {
        return None;
    }
    let strace = ["strace", "-o", "/dev/null", "-e", "inject=read:delay_exit=1000"];
    let trial = fixture.watch(&[&strace[..], &["true"]].concat()).finish();
    if trial.code() != Some(0) {
        skip(name, &format!("strace cannot trace: {}", trial.stderr.trim()));
        return None;
    }
    Some(fixture.run(&["start"]).under(&strace))
}

#[track_caller]
fn works_again(sandbox: &Sandbox) {
    sandbox.expect_nobody();
    assert!(is_alive(sandbox.fixture("ready").started()));
}

#[test]
fn a_set_up_that_hangs() {
    for arguments in [&["start"][..], &["start", "--debug"]] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready").set("on_start", "hang").set("start", "0.25");
        let text = "ERROR: Timed out: the start hook and what comes before it took longer than 250ms \
                    (the definition's start_timeout)\n";
        fails(&fixture, fixture.run(arguments), Duration::from_millis(250), 1, &[text]);
        works_again(&sandbox);
    }
}

#[test]
fn a_set_up_that_hangs_when_the_daemon_has_to_be_ready() {
    for arguments in [&["start"][..], &["start", "--debug"]] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready").set("on_start", "hang").set("ready", "0.25");
        let text = "ERROR: Timed out: the daemon was not ready within 250ms\n";
        fails(&fixture, fixture.run(arguments), Duration::from_millis(250), 1, &[text]);
        works_again(&sandbox);
    }
}

#[test]
fn a_flood_on_standard_error_does_not_stop_the_clock() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("flood").set("ready", "0.25");
    let Some(start) = slow(&fixture, "a_flood_on_standard_error_does_not_stop_the_clock") else {
        return;
    };
    let parts = ["again and again.\n", "ERROR: Timed out: the daemon was not ready within 250ms\n"];
    fails(&fixture, start, Duration::from_millis(250), 1, &parts);
    works_again(&sandbox);
}

/// Alive for a second is enough, however much it has to say meanwhile.
#[test]
fn a_daemon_that_floods_standard_error_is_started() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("flood");
    let Some(start) = slow(&fixture, "a_daemon_that_floods_standard_error_is_started") else {
        return;
    };
    start.finish().expect(0, "Starting example ... OK\n", "");
    assert!(is_alive(fixture.pid().unwrap()));
}

#[test]
fn a_flood_by_a_process_that_outlives_the_daemon() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-floods").set("fifo", sandbox.make_fifo("fifo"));
    let Some(start) = slow(&fixture, "a_flood_by_a_process_that_outlives_the_daemon") else {
        return;
    };
    let parts = ["flood\n", "ERROR: Child exited immediately with exit code 5\n"];
    fails(&fixture, start, Duration::ZERO, 5, &parts);
}

/// What the daemon has told in time counts also for a start that was stopped meanwhile (Ctrl-Z).
#[test]
fn a_start_that_is_stopped_until_its_time_is_up() {
    const NAME: &str = "a_start_that_is_stopped_until_its_time_is_up";
    if skip_unless_there_is("strace", NAME) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("start", "1");
    // When it has heard who the daemon is, and nothing else.
    let log = sandbox.path("calls").display().to_string();
    let stop = ["strace", "-o", &log, "-e", "inject=recvfrom:signal=SIGSTOP:when=2"];
    let strace = fixture.run(&["start"]).under(&stop).spawn();
    eventually("the start is held", || {
        sandbox.read("calls").contains("stopped by SIGSTOP") || !strace.stderr().is_empty()
    });
    let is_start = |pid: &Pid| stat(*pid).is_some_and(|it| it.parent == strace.pid());
    let Some(start) = sandbox.survivors().into_iter().find(is_start) else {
        return skip(NAME, "strace cannot trace");
    };
    let began = Instant::now();
    eventually("its time is up", || began.elapsed() > Duration::from_millis(1_500));
    sandbox.signal(start, Signal::CONT);
    strace.finish().expect(0, "Starting example ... OK\n", "");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}
