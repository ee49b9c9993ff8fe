//! A seccomp filter that refuses pidfds, or signals by them: nobody is signalled in another way, and the
//! refusal is told.

use daemonocle_tests::{Fixture, Output, Pid, Sandbox, is_alive, skip_unless_there_is};

/// What is denied, and the error that whoever calls it has for it.
const DENIED: [(&str, &str); 4] = [
    ("no-pidfds", "Function not implemented"),
    ("refused-pidfds", "Operation not permitted"),
    ("no-pidfd-signals", "Function not implemented"),
    ("refused-pidfd-signals", "Operation not permitted"),
];

/// The commands that would signal.
const COMMANDS: [&[&str]; 4] =
    [&["stop"], &["stop", "--force", "--timeout", "0"], &["restart"], &["reload"]];

/// Runs a command so, and looks that no signal is sent by a number.
#[track_caller]
fn denied(fixture: &Fixture<'_>, before: &str, arguments: &[&str]) -> Output {
    let log = fixture.sandbox().path("calls");
    let calls = "trace=kill,tkill,tgkill,rt_sigqueueinfo,rt_tgsigqueueinfo";
    let strace = ["strace", "-f", "-qq", "-o", log.to_str().unwrap(), "-e", calls];
    let run = fixture.clone().set("before", before).run(arguments);
    let output = run.under(&strace).finish();
    let made = fixture.sandbox().read("calls");
    let is_call = |line: &&str| line.contains("kill(") || line.contains("sigqueueinfo(");
    assert_eq!(made.lines().find(is_call), None, "{before} {arguments:?}: {output:?}");
    output
}

#[track_caller]
fn expect_refused(fixture: &Fixture<'_>, commands: &[&[&str]], name: &str, pid: Pid) {
    for (before, error) in DENIED {
        for arguments in commands {
            let output = denied(fixture, before, arguments);
            let what = format!("{before} {arguments:?}: {output:?}");
            assert_eq!(output.code(), Some(1), "{what}");
            assert!(output.stderr.contains(&format!("cannot signal {name} (PID {pid})")), "{what}");
            assert!(output.stderr.ends_with(&format!(": {error}\n")), "{what}");
            assert!(is_alive(pid), "{what}");
        }
    }
}

fn is_skipped(name: &str) -> bool {
    skip_unless_there_is("strace", name)
}

#[test]
fn of_a_worker() {
    if is_skipped("of_a_worker") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("on_hup", "yes");
    let pid = fixture.started();
    expect_refused(&fixture, &COMMANDS, "example", pid);
    assert_eq!((fixture.pid(), fixture.hook_log()), (Some(pid), String::new()));
}

/// A program does not reload.
#[test]
fn of_a_program() {
    if is_skipped("of_a_program") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("none").set("exec", "sleep\n3600");
    let pid = fixture.started();
    expect_refused(&fixture, &COMMANDS[..3], "example", pid);
    assert_eq!((fixture.pid(), fixture.hook_log()), (Some(pid), String::new()));
}

#[test]
fn of_many_workers() {
    if is_skipped("of_many_workers") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("on_hup", "yes").set("multi", "2");
    let fixture = fixture.set("name", "worker_{n}").set("pid_file", sandbox.path("{n}.pid"));
    assert_eq!(fixture.start().code(), Some(0));
    let pid: Pid = sandbox.read("1.pid").trim_end().parse().unwrap();
    expect_refused(&fixture, &COMMANDS, "worker_1", pid);
    assert_eq!(sandbox.survivors().len(), 2);
    assert_eq!(fixture.hook_log(), "");
}

/// Where only signals are denied, it is found as ever.
#[test]
fn of_a_worker_whose_pid_file_was_deleted() {
    if is_skipped("of_a_worker_whose_pid_file_was_deleted") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    std::fs::remove_file(fixture.pid_file()).unwrap();
    for (before, error) in [DENIED[2], DENIED[3]] {
        for arguments in &COMMANDS[..3] {
            let output = denied(&fixture, before, arguments);
            assert_eq!(output.code(), Some(1), "{before} {arguments:?}: {output:?}");
            assert!(output.stderr.ends_with(&format!(": {error}\n")), "{output:?}");
        }
        let start = denied(&fixture, before, &["start"]);
        start.expect_error(1, "Starting example ... FAILED\n", &["already running with PID"]);
        assert_eq!(sandbox.survivors(), [pid]);
    }
}

/// Who cannot be sure that nobody is there must not say so, nor start a second one.
#[test]
fn a_daemon_without_its_pid_file_is_not_said_to_be_gone() {
    for before in ["no-pidfds", "refused-pidfds"] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready");
        let pid = fixture.started();
        std::fs::remove_file(fixture.pid_file()).unwrap();
        let without = fixture.clone().set("before", before);
        let running = format!("example -- pid: {pid}, ");
        let status = without.status();
        assert!(status.stdout.starts_with(&running), "{before}: {status:?}");
        for action in ["stop", "start", "restart"] {
            let output = without.run(&[action]).finish();
            assert_eq!(output.code(), Some(1), "{before} {action}: {output:?}");
            let told = format!("{}{}", output.stdout, output.stderr);
            assert!(!told.contains("not running"), "{before} {action}: {output:?}");
            assert_eq!(sandbox.survivors(), [pid], "{before} {action}: {output:?}");
        }
    }
}
