//! Many starts at once: one wins, and the others tell its outcome.

use std::fs::File;

use daemonocle_tests::{
    Lock, Output, Running, STARTUP, Sandbox, eventually, is_alive, skip, skip_unless_there_is,
};

const MANY: usize = 100;

fn race(fixture: &daemonocle_tests::Fixture<'_>, count: usize) -> Vec<Output> {
    let running: Vec<Running> = (0..count).map(|_| fixture.run(&["start"]).spawn()).collect();
    running.into_iter().map(Running::finish).collect()
}

#[test]
fn one_wins_and_the_others_name_it() {
    for worker in ["ready", "sleep"] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture(worker);
        let outputs = race(&fixture, MANY);
        let pid = fixture.pid().unwrap();
        assert_eq!(sandbox.survivors(), [pid]);
        let told = format!("WARNING: example already running with PID {pid}\n");
        let winners = outputs.iter().filter(|output| output.stderr.is_empty()).count();
        assert_eq!(winners, 1, "{outputs:?}");
        for output in outputs {
            match output.stderr.is_empty() {
                true => output.expect(0, "Starting example ... OK\n", ""),
                false => output.expect(0, "", &told),
            };
        }
    }
}

#[test]
fn if_it_fails_the_others_try_themselves() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-code");
    let text = "ERROR: Child exited immediately with exit code 42\n";
    for output in race(&fixture, 10) {
        output.expect(42, "Starting example ... FAILED\n", text);
    }
    sandbox.expect_nobody();
    assert_eq!(sandbox.names(), ["hook.log"]);
    assert_eq!(fixture.hook_log().lines().count(), 10, "each has had its turn");
}

#[test]
fn starts_and_stops_mixed_leave_one_or_none() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    for _ in 0..3 {
        let running: Vec<Running> =
            (0..20).map(|number| fixture.run(&[["start", "stop"][number % 2]]).spawn()).collect();
        for output in running.into_iter().map(Running::finish) {
            // A stop may come into a start, which then has failed, and says why.
            let is_stopped = output.code() == Some(143) && output.stderr.contains("SIGTERM (15)");
            assert!(output.code() == Some(0) || is_stopped, "{output:?}");
        }
        let survivors = sandbox.survivors();
        match fixture.pid() {
            Some(pid) => assert_eq!(survivors, [pid]),
            None => assert_eq!(survivors, []),
        }
    }
}

#[test]
fn a_stop_that_meets_a_start_in_progress_leaves_nothing() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("sleep");
    let start = fixture.run(&["start"]).spawn();
    eventually("the daemon has a PID file", || fixture.pid().is_some());
    let pid = fixture.pid().unwrap();
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    let output = start.finish();
    match output.code() {
        // The stop came after the start, or into it: both are the truth.
        Some(0) => output.expect(0, "Starting example ... OK\n", ""),
        _ => output.expect_error(143, "Starting example ... FAILED\n", &["SIGTERM (15)"]),
    };
    sandbox.expect_nobody();
}

#[test]
fn waiting_for_another_start_has_an_end() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("sleep").set("ready", "60");
    let _start = fixture.run(&["start"]).spawn();
    eventually("the daemon has a PID file", || fixture.pid().is_some());
    let hasty = sandbox.fixture("sleep").set("ready", "0.2").set("stop", "0.1");
    let path = sandbox.path("example.pid");
    let text =
        format!("ERROR: timed out while waiting for another start that holds PID file {path:?}\n");
    hasty.start().expect(1, "Starting example ... FAILED\n", &text);
}

#[test]
fn a_child_that_a_filter_keeps_from_waiting_is_not_made_again_and_again() {
    let name = "a_child_that_a_filter_keeps_from_waiting_is_not_made_again_and_again";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let path = sandbox.write("example.pid", "");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    Lock::Write.take(&file, STARTUP..STARTUP + 1);
    let fixture = sandbox.fixture("ready").set("ready", "0.3").set("stop", "0.2");
    let log = sandbox.path("calls");
    let deny = ["strace", "-f", "-o", log.to_str().unwrap(), "-e", "trace=prctl"];
    let deny = [&deny[..], &["--inject=prctl:error=EPERM"]].concat();
    let output = fixture.run(&["start"]).under(&deny).finish();
    if output.stderr.contains("strace: ") {
        return skip(name, "strace cannot trace");
    }
    let text = "ERROR: timed out while waiting for another start";
    output.expect_error(1, "Starting example ... FAILED\n", &[text]);
    // One for each look, five times a second, and some for a machine that is busy.
    let made = sandbox.read("calls").matches("PR_SET_PDEATHSIG, SIGKILL").count();
    assert!((1..=10).contains(&made), "{made}");
}
