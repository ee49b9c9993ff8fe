//! What others have put into words and fields reaches a terminal without anything that it would obey.

use std::fs;

use daemonocle_tests::{Fixture, Run, Sandbox, Terminal};

/// What a terminal obeys: to clear the screen, in both ways, to go back, and to ring.
const ESCAPES: &str = "\x1b[2J\u{9b}31m\r\x07";

/// What the worker `end-escapes-quietly` says, as a terminal may have it.
const HARMLESS: &str = "text\\u{1b}[31m\\u{d}\\u{0}\tred\\u{9b}2J";

/// What a command shows on a terminal.
#[track_caller]
fn shown(run: Run) -> String {
    let run = run.env("NO_COLOR", "1").through("\"$@\"; echo ended");
    let mut terminal = Terminal::of(run);
    terminal.shows("ended\n");
    terminal.finish();
    terminal.screen()
}

#[track_caller]
fn expect_harmless(shown: &str) {
    let is_obeyed = |c: char| c.is_control() && !"\n\t".contains(c);
    assert!(!shown.contains(is_obeyed), "{shown:?}");
}

/// A daemon that reloads, and whose next one fails with such words.
fn failing_next(sandbox: &Sandbox) -> Fixture<'_> {
    let fixture = sandbox.fixture("ready").set("on_hup", "yes");
    fixture.set("changes", sandbox.write("changes", ""))
}

fn fail_next(sandbox: &Sandbox) {
    sandbox.write("changes", "WORKER=end-escapes-quietly\n");
}

#[test]
fn an_error_in_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-escapes-quietly");
    let shown = shown(fixture.run(&["start", "--debug"]));
    expect_harmless(&shown);
    assert!(shown.contains(HARMLESS), "{shown:?}");
}

#[test]
fn an_error_in_the_foreground_later() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture("end-escapes-quietly").set("trigger", &fifo);
    let run = fixture.run(&["start", "--debug"]).env("NO_COLOR", "1");
    let mut terminal = Terminal::of(run);
    terminal.shows("OK\n");
    fs::write(&fifo, "").unwrap();
    terminal.finish();
    let shown = terminal.screen();
    expect_harmless(&shown);
    assert!(shown.contains(HARMLESS), "{shown:?}");
}

#[test]
fn a_reload_that_fails() {
    let sandbox = Sandbox::new();
    let fixture = failing_next(&sandbox);
    let pid = fixture.started();
    fail_next(&sandbox);
    let shown = shown(fixture.run(&["reload"]));
    expect_harmless(&shown);
    assert!(shown.contains(HARMLESS), "{shown:?}");
    assert_eq!(fixture.pid(), Some(pid));
}

#[test]
fn fields_as_text() {
    let sandbox = Sandbox::new();
    let script = format!("sleep 3600; : {ESCAPES}");
    let fixture = sandbox.fixture("none").set("exec", format!("/bin/sh\n-c\n{script}"));
    let fixture = fixture.set("exec_set", format!("EVIL={ESCAPES}"));
    fixture.started();
    for fields in ["cmdline", "environ", "cmdline,environ,name,exe,cwd"] {
        let shown = shown(fixture.run(&["status", "--fields", fields]));
        expect_harmless(&shown);
        assert!(shown.contains("\\u001b[2J"), "{shown:?}");
    }
}

/// The daemon says it itself there, where it has a terminal.
#[test]
fn a_reload_that_fails_in_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("on_hup", "yes");
    let fixture = fixture.set("changes", sandbox.write("changes", ""));
    let run = fixture.run(&["start", "--debug"]).env("NO_COLOR", "1");
    let mut terminal = Terminal::of(run);
    terminal.shows("OK\n");
    let pid = fixture.settled();
    sandbox.write("changes", "WORKER=end-escapes-quietly\n");
    sandbox.signal(pid, rustix::process::Signal::HUP);
    terminal.shows("red");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    terminal.finish();
    expect_harmless(&terminal.screen());
}
