//! `start --debug` on a terminal: what is typed, and that it hangs up.

use std::fs;

use daemonocle_tests::{Fixture, Sandbox, Terminal, eventually, is_alive, skip_unless_root, stat};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";

/// Who is waited for has a Ctrl-C from the terminal, as all of the job.
#[test]
fn one_ctrl_c_is_one_to_who_is_waited_for() {
    let sandbox = Sandbox::new();
    let log = sandbox.write("log", "");
    let fixture = sandbox.fixture("child-listens").set("log", &log);
    let mut terminal = Terminal::of(plain(&fixture));
    terminal.shows(OK);
    let daemon = fixture.settled();
    eventually("it listens", || sandbox.read("log") == "begun\n");
    sandbox.signal(daemon, Signal::TERM);
    eventually("the daemon has ended", || !is_alive(daemon));
    // Two that come at once are one to anybody: so this one comes later.
    sandbox.signal(terminal.pid(), Signal::STOP);
    eventually("it stops", || stat(terminal.pid()).is_some_and(|stat| stat.state == 'T'));
    terminal.types("\x03");
    eventually("it has come", || sandbox.read("log") == "begun\nINT\n");
    sandbox.signal(terminal.pid(), Signal::CONT);
    terminal.shows(FORWARDING);
    eventually("its parent waits", || stat(terminal.pid()).is_some_and(|stat| stat.state == 'S'));
    sandbox.write("log.done", "");
    assert_eq!(terminal.finish(), (Some(0), None));
    assert_eq!(sandbox.read("log"), "begun\nINT\n");
}

/// `start --debug` without colours on a terminal.
fn plain(fixture: &Fixture<'_>) -> daemonocle_tests::Run {
    fixture.run(&["start", "--debug"]).env("NO_COLOR", "1")
}

const FORWARDING: &str = "Received signal SIGINT (2). Forwarding to child...\n";

#[test]
fn one_ctrl_c_counts_once_and_two_count_twice() {
    for (more, code, signal) in [("", Some(0), None), ("\x03", None, Some(libc::SIGINT))] {
        let sandbox = Sandbox::new();
        let fifo = sandbox.make_fifo("fifo");
        let fixture = sandbox.fixture("polite-slow").set("fifo", &fifo);
        let mut terminal = Terminal::of(plain(&fixture));
        terminal.shows("ready\n");
        let daemon = fixture.settled();
        // The terminal sends it to both processes, and the parent passes its own on.
        terminal.types("\x03");
        terminal.shows("closing\n");
        terminal.shows(FORWARDING);
        assert!(is_alive(daemon));
        if more.is_empty() {
            fs::write(&fifo, "").unwrap();
        }
        terminal.types(more);
        assert_eq!(terminal.finish(), (code, signal), "{:?}", terminal.screen());
        assert_eq!(fixture.hook_log().lines().count(), 1, "{}", fixture.hook_log());
        assert!(!is_alive(daemon));
    }
}

#[test]
fn ctrl_z_stops_all_and_fg_continues() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    let script = "set -m; \"$@\"; echo stopped $?; read x; fg >/dev/null; echo ended $?";
    let mut terminal = Terminal::of(plain(&fixture).through(script));
    terminal.shows(OK);
    let daemon = fixture.settled();
    terminal.types("\x1a");
    terminal.shows("stopped 1");
    eventually("the daemon has stopped", || stat(daemon).is_some_and(|stat| stat.state == 'T'));
    terminal.types("\n");
    eventually("the daemon goes on", || stat(daemon).is_some_and(|stat| stat.state == 'S'));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    terminal.shows("ended 0\n");
    terminal.finish();
}

/// The kernel tells it to the leader of the session only, which is the parent here.
#[test]
fn a_terminal_that_hangs_up_asks_for_no_reload() {
    if skip_unless_root("a_terminal_that_hangs_up_asks_for_no_reload") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes");
    let terminal = Terminal::of(plain(&fixture));
    terminal.shows(OK);
    fixture.settled();
    terminal.hangs_up();
    eventually("all are gone", || sandbox.survivors().is_empty());
    let log = fixture.hook_log();
    assert!(!log.contains("reload") && log.lines().count() == 1, "{log}");
}
