//! A start that fails: the exit code, the reason in words, and nothing left behind.

use std::time::Duration;

use daemonocle_tests::{Fixture, Output, Sandbox, eventually, is_alive, stat, takes_less_than};
use rustix::process::Signal;

const FAILED: &str = "Starting example ... FAILED\n";

/// Starts it, and checks all that every failure has in common.
#[track_caller]
fn fail(sandbox: &Sandbox, fixture: &Fixture<'_>) -> Output {
    let before = sandbox.names();
    let output = fixture.start();
    assert_eq!(sandbox.survivors(), [], "{output:?}");
    let mut after = sandbox.names();
    after.retain(|name| name != "hook.log");
    assert_eq!(after, before, "{output:?}");
    output
}

#[track_caller]
fn end(worker: &str) -> Output {
    let sandbox = Sandbox::new();
    fail(&sandbox, &sandbox.fixture(worker))
}

#[test]
fn it_is_told_at_once() {
    assert!(takes_less_than(Duration::from_secs(1), || drop(end("end-error"))));
}

#[test]
fn the_worker_returned_ok() {
    end("end-ok").expect(1, FAILED, "ERROR: Child exited immediately with exit code 0\n");
}

#[test]
fn the_worker_returned_an_error_with_a_cause() {
    let text = "ERROR: Child exited immediately with exit code 1: \
                cannot open the cookie jar: No such file or directory (os error 2)\n";
    end("end-error").expect(1, FAILED, text);
}

#[test]
fn the_worker_returned_an_exit_code() {
    end("end-code").expect(42, FAILED, "ERROR: Child exited immediately with exit code 42\n");
    end("end-code-0").expect(1, FAILED, "ERROR: Child exited immediately with exit code 0\n");
}

#[test]
fn the_worker_returned_a_message() {
    let text = "ERROR: Child exited immediately with exit code 1: no more cookies\n";
    end("end-message").expect(1, FAILED, text);
}

#[test]
fn the_worker_panicked() {
    let output = end("end-panic");
    let last = "\nERROR: Child exited immediately with exit code 101: all cookies are gone\n";
    output.expect_error(101, FAILED, &["all cookies are gone", last]);
    assert!(output.stderr.ends_with(last), "{output:?}");
    assert!(output.stderr.contains(" panicked at "), "the panic's own words too: {output:?}");
}

#[test]
fn the_worker_panicked_without_text() {
    let parts = ["ERROR: Child exited immediately with exit code 101"];
    end("end-panic-number").expect_error(101, FAILED, &parts);
}

#[test]
fn the_worker_called_exit() {
    end("end-exit").expect(42, FAILED, "ERROR: Child exited immediately with exit code 42\n");
    end("end-exit-0").expect(1, FAILED, "ERROR: Child exited immediately with exit code 0\n");
    let text = "ERROR: Child exited immediately with exit code 43\n";
    end("end-exit-thread").expect(43, FAILED, text);
}

#[test]
fn a_signal_ended_the_worker() {
    for (worker, code, signal) in [
        ("end-abort", 134, "SIGABRT (6)"),
        ("end-segfault", 139, "SIGSEGV (11)"),
        ("end-kill", 137, "SIGKILL (9)"),
    ] {
        let text = format!("ERROR: Child exited immediately with exit code {code}: {signal}\n");
        end(worker).expect(code, FAILED, &text);
    }
}

#[test]
fn what_the_worker_wrote_to_standard_error_comes_first() {
    let text = "the jar is broken\nERROR: Child exited immediately with exit code 3\n";
    end("end-complaint").expect(3, FAILED, text);
}

#[test]
fn it_goes_to_the_file_instead_if_there_is_one() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("err", "");
    let output = fail(&sandbox, &sandbox.fixture("end-complaint").set("stderr", &file));
    output.expect(3, FAILED, "ERROR: Child exited immediately with exit code 3\n");
    assert_eq!(sandbox.read("err"), "the jar is broken\n");
}

#[test]
fn a_worker_that_writes_more_than_a_pipe_holds_is_not_stuck() {
    let sandbox = Sandbox::new();
    let output = fail(&sandbox, &sandbox.fixture("end-flood"));
    let last = "again.\nthe last line\nERROR: Child exited immediately with exit code 3\n";
    output.expect_error(3, FAILED, &[last]);
    let first = "[earlier output is left out]\na line of forty bytes";
    assert!(output.stderr.starts_with(first), "{}", &output.stderr[..99]);
}

#[test]
fn the_last_of_much_output_is_shown_although_the_command_was_slow() {
    let sandbox = Sandbox::new();
    let (fifo, note) = (sandbox.make_fifo("fifo"), sandbox.path("note"));
    let fixture = sandbox.fixture("end-two-floods").set("ready", "60");
    let fixture = fixture.set("fifo", &fifo).set("child_pid", note);
    let start = fixture.run(&["start"]).spawn();
    eventually("much has been written, and read", || sandbox.read("note") == "0");
    sandbox.signal(start.pid(), Signal::STOP);
    eventually("it has stopped", || stat(start.pid()).is_some_and(|stat| stat.state == 'T'));
    let daemon = fixture.pid().unwrap();
    std::fs::write(&fifo, "").unwrap();
    eventually("the daemon has died", || !is_alive(daemon));
    sandbox.signal(start.pid(), Signal::CONT);
    let last = "the last line\nERROR: Child exited immediately with exit code 3\n";
    start.finish().expect_error(3, FAILED, &[last]);
}

#[test]
fn a_child_of_the_dead_worker_does_not_hold_the_start() {
    let sandbox = Sandbox::new();
    let note = sandbox.write("child", "");
    let output = fail(&sandbox, &sandbox.fixture("child-sleep-then-code").set("child_pid", &note));
    output.expect(5, FAILED, "ERROR: Child exited immediately with exit code 5\n");
    let child = sandbox.read("child").parse().unwrap();
    assert!(!is_alive(child), "it went with the daemon's group");
}

#[test]
fn the_worker_was_not_ready_in_time() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("sleep").set("ready", "0.3");
    let text = "ERROR: Timed out: the daemon was not ready within 300ms\n";
    fail(&sandbox, &fixture).expect(1, FAILED, text);
    assert_eq!(fixture.hook_log(), "143|Terminated by SIGTERM (15)\n", "it was asked to end");
}

#[test]
fn a_worker_that_is_late_and_does_not_end_is_killed() {
    let sandbox = Sandbox::new();
    let fixture =
        sandbox.fixture("sleep").set("hook", "hang").set("ready", "0.3").set("stop", "0.3");
    let text = "ERROR: Timed out: the daemon was not ready within 300ms\n";
    fail(&sandbox, &fixture).expect(1, FAILED, text);
}

#[test]
fn the_start_hook_failed() {
    for (how, code, text) in [
        ("fail", 1, "ERROR: start hook: the stars are wrong\n"),
        ("panic", 101, "ERROR: start hook: Dying due to unhandled panic: no stars at all\n"),
    ] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready").set("on_start", how);
        fail(&sandbox, &fixture).expect_error(code, FAILED, &[text]);
    }
}

#[test]
fn the_start_hook_called_exit() {
    let sandbox = Sandbox::new();
    let output = fail(&sandbox, &sandbox.fixture("ready").set("on_start", "exit"));
    output.expect(9, FAILED, "ERROR: Child exited immediately with exit code 9\n");
}

#[test]
fn the_definition_is_wrong() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("file", "");
    let dir = sandbox.make_dir("dir", 0o755);
    let at = |name: &str| sandbox.path(name).display().to_string();
    for (item, value, text) in [
        ("work_dir", at("none"), format!("working directory {:?}: No such file", at("none"))),
        ("work_dir", at("file"), format!("working directory {file:?}: Not a directory")),
        ("chroot", at("none"), format!("chroot directory {:?}: No such file", at("none"))),
        ("user", "no-such-user".into(), "user \"no-such-user\" does not exist".into()),
        ("group", "no-such-group".into(), "group \"no-such-group\" does not exist".into()),
        ("ready", "0".into(), "ready_timeout is zero".into()),
        ("end_on", "15,9".into(), "end_on: SIGKILL (9) cannot be handled".into()),
        ("pid_file", at("dir"), format!("PID file {dir:?} is a directory")),
        ("pid_file", "/".into(), "PID file \"/\" is".into()),
        ("pid_file", String::new(), "PID file \"\" is not".into()),
        ("stdout", at("dir"), format!("standard output file {dir:?} is a directory")),
        ("stderr", at("dir"), format!("standard error file {dir:?} is a directory")),
        ("umask", "1000".into(), "umask 0o1000 is not between 0 and 0o777".into()),
        ("name", "two\nlines".into(), "name \"two\\nlines\" must be one line".into()),
        ("name", String::new(), "name \"\" must be one line".into()),
    ] {
        let name = value.clone();
        let fixture = sandbox.fixture("ready").set(item, value);
        // What is wrong with a name must not reach the terminal as it is.
        let failed = match (item, name.as_str()) {
            ("name", name) => format!("Starting {} ... FAILED\n", name.replace('\n', "\\n")),
            _ => FAILED.to_owned(),
        };
        fail(&sandbox, &fixture).expect_error(1, &failed, &[&format!("ERROR: {text}")]);
    }
}

#[test]
fn the_caller_has_threads() {
    let sandbox = Sandbox::new();
    let output = fail(&sandbox, &sandbox.fixture("ready").set("before", "thread"));
    output.expect_error(1, FAILED, &["ERROR: cannot start from a process that has 2 threads"]);
}

#[test]
fn a_start_works_after_one_that_failed() {
    let sandbox = Sandbox::new();
    fail(&sandbox, &sandbox.fixture("end-panic"));
    let pid = sandbox.fixture("ready").started();
    assert!(is_alive(pid));
}

#[test]
fn a_failed_start_leaves_the_directory_that_it_made_and_nothing_in_it() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("run/example.pid");
    sandbox.fixture("end-code").set("pid_file", &path).start();
    assert!(!path.exists());
    sandbox.expect_nobody();
}

#[test]
fn a_worker_that_has_ended_has_not_started_although_its_hook_goes_on() {
    for (worker, code, words) in [("end-error", 1, ": "), ("end-code", 42, ""), ("end-ok", 1, "")] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture(worker).set("hook", "hang").set("stop", "0.2");
        let output = fixture.start();
        let told = match worker {
            "end-ok" => "Child exited immediately with exit code 0".to_owned(),
            _ => format!("Child exited immediately with exit code {code}{words}"),
        };
        output.expect_error(code, FAILED, &[&told]);
        sandbox.expect_nobody();
    }
}

/// Nobody could find it: its locks went with the descriptors that close on exec.
#[test]
fn the_worker_became_another_program() {
    for arguments in [&["start"][..], &["start", "--debug"]] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("exec").unset("hook_log");
        let output = fixture.run(arguments).finish();
        assert_eq!(output.code(), Some(1), "{output:?}");
        let text = "ERROR: the worker does not have its PID file any more: it has replaced itself";
        assert!(output.stderr.starts_with(text), "{output:?}");
        sandbox.expect_nobody();
        assert_eq!(sandbox.names(), Vec::<String>::new());
    }
}
