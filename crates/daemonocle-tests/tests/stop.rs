//! A stop that says OK: the process is gone. Anything else is a failure, and kills nothing.

use std::time::{Duration, Instant};

use daemonocle_tests::{
    Sandbox, detach, eventually, is_alive, skip, skip_unless_root, skip_unless_there_is,
    takes_less_than,
};
use rustix::process::Signal;

const OK: &str = "Stopping example ... OK\n";
const NOT_RUNNING: &str = "WARNING: example is not running\n";

#[test]
fn the_process_and_the_pid_file_are_gone() {
    let sandbox = Sandbox::new();
    for worker in ["ready", "polite", "polite-failure", "burn", "threads"] {
        let fixture = sandbox.fixture(worker);
        let pid = fixture.started();
        fixture.stop().expect(0, OK, "");
        assert!(!is_alive(pid), "{worker}");
        assert_eq!(sandbox.names(), ["hook.log"], "{worker}");
    }
}

#[test]
fn not_running() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    fixture.stop().expect(0, "", NOT_RUNNING);
    assert_eq!(sandbox.names(), Vec::<String>::new());
    fixture.started();
    fixture.stop();
    fixture.stop().expect(0, "", NOT_RUNNING);
}

#[test]
fn not_running_and_not_even_a_directory() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("pid_file", sandbox.path("run/example.pid"));
    fixture.stop().expect(0, "", NOT_RUNNING);
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn a_time_out_is_a_failure_and_kills_nothing() {
    let sandbox = Sandbox::new();
    for worker in ["deaf", "stubborn"] {
        let fixture = sandbox.fixture(worker);
        let pid = fixture.started();
        let began = Instant::now();
        let text = format!("ERROR: Timed out while waiting for process (PID {pid}) to terminate\n");
        fixture.run(&["stop", "--timeout", "0.3"]).finish().expect(
            1,
            "Stopping example ... FAILED\n",
            &text,
        );
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert!(is_alive(pid), "{worker}");
        assert_eq!(fixture.pid(), Some(pid));
        assert_eq!(fixture.status().code(), Some(0));
        sandbox.kill(pid);
    }
}

#[test]
fn the_time_out_of_the_definition_counts_without_another() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("stubborn").set("stop", "0.2");
    let pid = fixture.started();
    let text = format!("ERROR: Timed out while waiting for process (PID {pid}) to terminate\n");
    fixture.stop().expect(1, "Stopping example ... FAILED\n", &text);
    assert!(is_alive(pid));
}

#[test]
fn the_end_is_seen_at_once() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    assert!(takes_less_than(Duration::from_secs(1), || {
        fixture.started();
        fixture.stop().expect(0, OK, "");
    }));
}

#[test]
fn a_daemon_that_is_ending_already_is_waited_for() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("sleep").set("hook", "hang");
    let pid = fixture.started();
    sandbox.signal(pid, Signal::TERM);
    eventually("the hook runs", || !fixture.hook_log().is_empty());
    let stop = fixture.run(&["stop", "--timeout", "0.1"]).finish();
    let text = format!("ERROR: Timed out while waiting for process (PID {pid}) to terminate\n");
    stop.expect(1, "Stopping example ... FAILED\n", &text);
    // A signal by hand is a second one.
    sandbox.signal(pid, Signal::TERM);
    fixture.stop();
    assert!(!is_alive(pid));
    assert_eq!(fixture.hook_log(), "143|Terminated by SIGTERM (15)\n");
}

#[test]
fn after_a_kill_nothing_is_running_and_the_rest_is_removed() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    sandbox.kill(pid);
    assert_eq!(fixture.pid(), Some(pid), "what a SIGKILL leaves");
    fixture.stop().expect(0, "", NOT_RUNNING);
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn two_stops_at_once_both_tell_the_truth() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    for _ in 0..5 {
        let pid = fixture.started();
        let both = [fixture.run(&["stop"]).spawn(), fixture.run(&["stop"]).spawn()];
        for output in both.map(daemonocle_tests::Running::finish) {
            assert_eq!(output.code(), Some(0), "{output:?}");
            assert!(output.stdout == OK || output.stderr == NOT_RUNNING, "{output:?}");
        }
        assert!(!is_alive(pid));
    }
}

#[test]
fn without_a_pid_file_there_is_nothing_to_stop() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").unset("pid_file");
    let text = "ERROR: example has no PID file, without which it cannot be found\n";
    fixture.stop().expect(1, "", text);
    fixture.status().expect(1, "", text);
}

#[test]
fn it_works_although_the_working_directory_is_gone() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("work", 0o755);
    let fixture = sandbox.fixture("ready").set("work_dir", &dir);
    let pid = fixture.started();
    std::fs::remove_dir(&dir).unwrap();
    assert_eq!(fixture.status().code(), Some(0));
    fixture.stop().expect(0, OK, "");
    assert!(!is_alive(pid));
}

#[test]
fn the_daemon_of_another_user_is_named_and_left_alone() {
    if skip_unless_root("the_daemon_of_another_user_is_named_and_left_alone") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").for_everybody();
    let pid = fixture.started();
    let output = fixture.run(&["stop"]).as_user(65534, 65534).finish();
    let text = format!("ERROR: cannot signal example (PID {pid}) of user ");
    output.expect_error(1, "Stopping example ... FAILED\n", &[&text, "Operation not permitted"]);
    assert!(is_alive(pid));
    let status = fixture.run(&["status"]).as_user(65534, 65534).finish();
    assert_eq!(status.code(), Some(0), "looking is allowed: {status:?}");
}

#[test]
fn what_the_daemon_could_not_remove_is_removed() {
    if skip_unless_root("what_the_daemon_could_not_remove_is_removed") {
        return;
    }
    let sandbox = Sandbox::new();
    // The directory belongs to root, the daemon does not.
    let fixture = sandbox.fixture("ready").set("user", "nobody").unset("hook_log");
    let pid = fixture.started();
    sandbox.signal(pid, Signal::TERM);
    eventually("it has ended", || !is_alive(pid));
    assert_eq!(sandbox.names(), ["example.pid"]);
    assert_eq!(sandbox.read("example.pid"), "", "emptied");
    fixture.status().expect(1, "example -- not running\n", "");
    let again = fixture.started();
    fixture.stop().expect(0, OK, "");
    assert!(!is_alive(again));
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn a_stop_that_is_repeated_kills_nothing() {
    for worker in ["deaf", "sleep"] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture(worker).set("hook", "hang");
        let pid = fixture.started();
        let text = format!("ERROR: Timed out while waiting for process (PID {pid}) to terminate\n");
        for _ in 0..3 {
            let stop = fixture.run(&["stop", "--timeout", "0.1"]).finish();
            stop.expect(1, "Stopping example ... FAILED\n", &text);
            assert!(is_alive(pid), "{worker}");
        }
    }
}

#[test]
fn a_signal_by_hand_after_a_stop_is_a_second_one() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("deaf");
    let pid = fixture.started();
    assert_eq!(fixture.run(&["stop", "--timeout", "0.1"]).finish().code(), Some(1));
    sandbox.signal(pid, Signal::TERM);
    eventually("the daemon has ended", || !is_alive(pid));
    assert_eq!(fixture.hook_log(), "143|Terminated by SIGTERM (15)\n");
}

/// Nobody was running, and when it is read whom the PID file names, somebody is.
#[test]
fn a_daemon_that_comes_up_meanwhile_is_no_bystander() {
    let name = "a_daemon_that_comes_up_meanwhile_is_no_bystander";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let log = sandbox.path("calls").display().to_string();
    let slow = ["-e", "trace=openat,fcntl", "-e", "inject=openat:delay_enter=60ms"];
    let strace = [&["strace", "-D", "-o", &log], &slow[..]].concat();
    let stop = fixture.run(&["stop"]).under(&strace).spawn();
    eventually("it has seen no sign of anybody", || {
        let calls = sandbox.read("calls");
        calls.lines().filter(|line| line.contains("F_OFD_GETLK, {l_type=F_UNLCK")).count() == 3
            || stop.stderr().contains("strace: ")
    });
    if stop.stderr().contains("strace: ") {
        return skip(name, &format!("strace cannot trace: {}", stop.stderr().trim()));
    }
    sandbox.signal(stop.pid(), Signal::STOP);
    let pid = fixture.started();
    sandbox.signal(stop.pid(), Signal::CONT);
    detach(&stop, &sandbox);
    stop.finish().expect(0, "", NOT_RUNNING);
    assert_eq!(fixture.settled(), pid);
}
