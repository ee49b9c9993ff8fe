//! The command line: help, usage errors, colours.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use daemonocle_tests::{Sandbox, Terminal, is_root, skip, skip_unless_there_is};

#[test]
fn help_is_on_standard_output_and_no_failure() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("about", "Counts sheep.");
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let output = fixture.run(arguments).finish();
        output.expect(0, &output.stdout, "");
        assert!(output.stdout.starts_with("Counts sheep.\n"), "{output:?}");
        for (action, about) in [
            ("start", "Start the daemon."),
            ("stop", "Stop the daemon."),
            ("restart", "Stop then start the daemon."),
            ("status", "Get the status of the daemon."),
        ] {
            let is_there = output.stdout.lines().any(|line| {
                line.trim_start().strip_prefix(action).is_some_and(|rest| rest.trim() == about)
            });
            assert!(is_there, "{action}: {output:?}");
        }
    }
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn each_action_has_its_help() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let debug = ["--debug", "Do NOT detach and run in the background."];
    let force = ["--force", "Kill the daemon forcefully after the timeout."];
    let timeout = [
        "--timeout <SECONDS>",
        "Number of seconds to wait for the daemon to stop. Overrides \"stop_timeout\" from daemon \
         definition.",
    ];
    for (action, about, options) in [
        ("start", "Start the daemon.", &[debug][..]),
        ("stop", "Stop the daemon.", &[timeout, force]),
        ("restart", "Stop then start the daemon.", &[timeout, force, debug]),
        ("status", "Get the status of the daemon.", &[["--json", "Show the status in JSON"]]),
    ] {
        let output = fixture.run(&[action, "--help"]).finish();
        output.expect(0, &output.stdout, "");
        assert!(output.stdout.starts_with(about), "{output:?}");
        let words = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for [option, help] in options {
            assert!(words.contains(&format!("{option} {help}")), "{option}: {output:?}");
        }
    }
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn help_that_is_lost_is_a_failure() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("actions", "full_status,murmur");
    let why = "ERROR: cannot write to standard output: No space left on device\n";
    for arguments in [&["--help"][..], &["help", "stop"], &["full-status", "--help"], &["murmur"]] {
        let output = fixture.run(arguments).through("exec \"$@\" >/dev/full").finish();
        output.expect(1, "", why);
    }
    // Of these nothing is told but by the exit code, and that is none of success anyway.
    for arguments in [&[][..], &["begin"]] {
        fixture.run(arguments).through("exec \"$@\" 2>/dev/full").finish().expect(2, "", "");
    }
}

#[test]
fn usage_errors_are_2() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    for arguments in [
        &[][..],
        &["begin"],
        &["start", "--frobnicate"],
        &["start", "now"],
        &["start", "--force"],
        &["stop", "--timeout"],
        &["stop", "--timeout", "soon"],
        &["stop", "--timeout", "-1"],
        &["stop", "--timeout=-1"],
        &["stop", "--timeout", "inf"],
        &["stop", "--timeout", "NaN"],
        &["stop", "--timeout", "1e3"],
        &["stop", "--timeout", "18446744073709551616"],
        &["status", "--debug"],
        &["start", "stop"],
        &["--debug"],
    ] {
        let output = fixture.run(arguments).finish();
        assert_eq!((output.code(), &*output.stdout), (Some(2), ""), "{arguments:?}: {output:?}");
        assert!(output.stderr.contains("help"), "the way out: {arguments:?}: {output:?}");
    }
    sandbox.expect_nobody();
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn an_unknown_action_is_named() {
    let sandbox = Sandbox::new();
    let output = sandbox.fixture("ready").run(&["begin"]).finish();
    output.expect_error(2, "", &["begin"]);
    let output = sandbox.fixture("ready").run(&["stop", "--timeout", "soon"]).finish();
    output.expect_error(2, "", &["'soon'", "--timeout <SECONDS>", "not a number of seconds"]);
}

#[test]
fn fractions_of_a_second_and_large_numbers_are_fine() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    for time in ["0.25", ".5", "1000.75", "1000000000000000000"] {
        fixture.started();
        let output = fixture.run(&["stop", "--timeout", time]).finish();
        output.expect(0, "Stopping example ... OK\n", "");
    }
}

#[test]
fn help_needs_no_rights_and_a_wrong_definition_does_not_matter() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    fs::set_permissions(&dir, Permissions::from_mode(0o000)).unwrap();
    let mut fixture = sandbox
        .fixture("ready")
        .set("pid_file", dir.join("deep/example.pid"))
        .set("user", "no-such-user")
        .set("work_dir", "/nonexistent");
    if is_root() {
        fixture = fixture.for_everybody();
    }
    for arguments in [&["--help"][..], &["start", "--help"], &["status", "--help"]] {
        let mut run = fixture.run(arguments);
        if is_root() {
            run = run.as_user(12345, 12345);
        }
        let output = run.finish();
        output.expect(0, &output.stdout, "");
    }
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn arguments_that_are_no_text_are_an_error() {
    let sandbox = Sandbox::new();
    let run = sandbox.fixture("ready").run(&[]);
    let output = run.through("exec \"$@\" \"$(printf '\\377')\"").finish();
    assert_eq!(output.code(), Some(2), "{output:?}");
}

#[test]
fn no_colour_in_a_pipe() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    for output in [fixture.start(), fixture.start(), fixture.status(), fixture.stop()] {
        assert!(!format!("{output:?}").contains("\\u{1b}"), "{output:?}");
    }
}

#[test]
fn colour_on_a_terminal() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let shown = |arguments: &[&str]| {
        let mut terminal = Terminal::of(fixture.run(arguments).through("\"$@\"; echo ended"));
        terminal.shows("ended\n");
        terminal.finish();
        terminal.screen()
    };
    assert_eq!(shown(&["start"]), "Starting example ... \x1b[32mOK\x1b[0m\nended\n");
    let pid = fixture.pid().unwrap();
    let told = format!("\x1b[33mWARNING: example already running with PID {pid}\x1b[0m\nended\n");
    assert_eq!(shown(&["start"]), told);
    assert_eq!(shown(&["stop"]), "Stopping example ... \x1b[32mOK\x1b[0m\nended\n");
    let fixture = sandbox.fixture("end-code");
    let mut terminal = Terminal::of(fixture.run(&["start"]).through("\"$@\"; echo ended"));
    terminal.shows("ended\n");
    let text = "Starting example ... \x1b[31mFAILED\x1b[0m\n\
                \x1b[31mERROR: Child exited immediately with exit code 42\x1b[0m\nended\n";
    assert_eq!(terminal.screen(), text);
    terminal.finish();
}

#[test]
fn no_color_is_honoured() {
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let sandbox = Sandbox::new();
        let run = sandbox.fixture("ready").run(&["start"]).env(name, value);
        let mut terminal = Terminal::of(run.through("\"$@\"; echo ended"));
        terminal.shows("ended\n");
        assert_eq!(terminal.screen(), "Starting example ... OK\nended\n", "{name}");
        terminal.finish();
    }
}

/// The worker may have become somebody else, and the terminal is that of root.
#[test]
fn a_terminal_is_given_nothing_to_obey() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-escapes");
    let run = fixture.run(&["start"]).env("NO_COLOR", "1");
    let mut terminal = Terminal::of(run.through("\"$@\"; echo ended"));
    terminal.shows("ended\n");
    terminal.finish();
    let error = "ERROR: Child exited immediately with exit code 1: text\\u{1b}[31m\\u{d}\\u{0}\tred\nline\n";
    let shown = terminal.screen();
    let told = format!("\\u{{1b}}[2Jworker\t\\u{{9b}}31m\\u{{d}}\n{error}ended\n");
    assert!(shown.ends_with(&told), "{shown:?}");
    assert!(!shown.contains(['\x1b', '\r', '\u{9b}']), "{shown:?}");
    // In a pipe what the worker has written stays as it is.
    let text = format!("\x1b[2Jworker\t\u{9b}31m\r\n{error}");
    fixture.start().expect(1, "Starting example ... FAILED\n", &text);
}

/// Others may be writing to the same place.
#[test]
fn a_message_is_written_at_once() {
    let name = "a_message_is_written_at_once";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let trace = sandbox.path("trace");
    let wrapper = ["strace", "-s", "999", "-e", "trace=write", "-o", trace.to_str().unwrap()];
    let output = fixture.run(&["stop"]).under(&wrapper).finish();
    if output.stderr.contains("strace: ") {
        return skip(name, "strace cannot trace");
    }
    output.expect(0, "", "WARNING: example is not running\n");
    let calls = sandbox.read("trace");
    let calls: Vec<&str> = calls.lines().filter(|line| line.starts_with("write(2,")).collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
}

#[test]
fn output_that_nobody_reads_changes_nothing() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let run = fixture.run(&["start"]).through("\"$@\" | true; echo $?");
    run.finish();
    assert_eq!(fixture.status().code(), Some(0));
    let run = fixture.run(&["stop"]).through("exec \"$@\" > /dev/full 2> /dev/full");
    assert_eq!(run.finish().code(), Some(0));
    assert_eq!(fixture.status().code(), Some(1));
}

#[test]
fn the_name_is_the_one_of_the_definition() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("name", "sheep counter");
    fixture.start().expect(0, "Starting sheep counter ... OK\n", "");
    fixture.stop().expect(0, "Stopping sheep counter ... OK\n", "");
    fixture.stop().expect(0, "", "WARNING: sheep counter is not running\n");
}
