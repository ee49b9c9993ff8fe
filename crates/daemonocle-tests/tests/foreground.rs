//! `start --debug`: everything but leaving the terminal, and an end that is the worker's.

use std::fs;

use daemonocle_tests::{
    Fixture, Running, Sandbox, attach, eventually, is_alive, skip, skip_unless_there_is, stat,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const GONE: &str = "All children are gone. Parent is exiting...\n";

#[track_caller]
fn begun(fixture: &Fixture<'_>) -> (Running, i32) {
    let running = fixture.foreground();
    running.says(OK);
    let pid = fixture.settled();
    (running, pid)
}

#[test]
fn the_exit_code_is_the_workers() {
    for (worker, code, error) in [
        ("end-ok", 0, ""),
        ("end-code", 42, ""),
        ("end-exit", 42, ""),
        ("end-exit-0", 0, ""),
        ("end-message", 1, "ERROR: no more cookies\n"),
    ] {
        let sandbox = Sandbox::new();
        let fifo = sandbox.make_fifo("fifo");
        let fixture = sandbox.fixture(worker).set("trigger", &fifo);
        let (running, _) = begun(&fixture);
        fs::write(&fifo, "").unwrap();
        running.finish().expect(code, &format!("{OK}{GONE}"), error);
        assert_eq!(fixture.hook_log().lines().count(), 1);
        assert!(!sandbox.path("example.pid").exists());
    }
}

#[test]
fn a_panic_is_101() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture("end-panic").set("trigger", &fifo);
    let (running, _) = begun(&fixture);
    fs::write(&fifo, "").unwrap();
    let output = running.finish();
    output.expect_error(101, &format!("{OK}{GONE}"), &["ERROR: all cookies are gone\n"]);
}

#[track_caller]
fn dies_of(worker: &str, signal: i32) {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture(worker).set("trigger", &fifo);
    let (running, _) = begun(&fixture);
    fs::write(&fifo, "").unwrap();
    let output = running.finish();
    assert_eq!(output.signal(), Some(signal), "{worker}: {output:?}");
    assert_eq!(output.stdout, format!("{OK}{GONE}"));
    assert!(!sandbox.path("example.pid").exists(), "removed for it");
}

#[test]
fn a_signal_that_ended_the_worker_ends_the_command() {
    dies_of("end-abort", libc::SIGABRT);
    dies_of("end-segfault", libc::SIGSEGV);
}

#[test]
fn a_kill_too() {
    dies_of("end-kill", libc::SIGKILL);
}

#[test]
fn output_stays_on_the_terminal_and_in_order() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("print").set("stdout", sandbox.path("out"));
    let (running, pid) = begun(&fixture);
    running.says("out\n");
    sandbox.signal(pid, Signal::TERM);
    let output = running.finish();
    assert_eq!(output.signal(), Some(libc::SIGTERM));
    assert_eq!(output.stdout, format!("{OK}out\n{GONE}"));
    assert_eq!(output.stderr, "err\n");
    assert!(!sandbox.path("out").exists());
}

#[test]
fn signals_are_passed_on() {
    for (signal, shown) in [
        (Signal::TERM, "SIGTERM (15)"),
        (Signal::INT, "SIGINT (2)"),
        (Signal::QUIT, "SIGQUIT (3)"),
        (Signal::HUP, "SIGHUP (1)"),
        (Signal::USR1, "SIGUSR1 (10)"),
        (Signal::USR2, "SIGUSR2 (12)"),
    ] {
        let sandbox = Sandbox::new();
        let said = format!("{OK}Received signal {shown}. Forwarding to child...\n{GONE}");
        let fixture = sandbox.fixture("polite").set("end_on", "1,2,3,10,12,15");
        let (running, _) = begun(&fixture);
        sandbox.signal(running.pid(), signal);
        running.finish().expect(0, &said, "");
        assert_eq!(fixture.hook_log(), format!("0|Terminated by {shown}\n"));
    }
}

/// As when the daemon has changed its user.
#[test]
fn a_signal_that_cannot_be_passed_on_is_told() {
    let name = "a_signal_that_cannot_be_passed_on_is_told";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    let log = sandbox.path("calls");
    // In a process group of its own: else it would be one of those that are waited for.
    let deny = ["strace", "-DD", "-o", log.to_str().unwrap(), "-e", "trace=kill"];
    let deny = [&deny[..], &["--inject=kill:error=EPERM:when=1"]].concat();
    let mut running = fixture.run(&["start", "--debug"]).under(&deny).spawn();
    eventually("it starts", || fixture.pid().is_some() || !running.is_running());
    if running.stderr().contains("strace: ") {
        return skip(name, "strace cannot trace");
    }
    running.says(OK);
    let pid = fixture.settled();
    sandbox.signal(running.pid(), Signal::TERM);
    let forwarding = "Received signal SIGTERM (15). Forwarding to child...\n";
    running.says(&format!("{OK}{forwarding}"));
    sandbox.signal(running.pid(), Signal::TERM);
    let warning = format!(
        "WARNING: cannot send SIGTERM (15) to process (PID {pid}): Operation not permitted (os error 1)\n"
    );
    running.finish().expect(0, &format!("{OK}{forwarding}{forwarding}{GONE}"), &warning);
}

#[track_caller]
fn ended_by(signal: Signal) {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("end_on", "1,2,3,10,12,15");
    let (running, _) = begun(&fixture);
    sandbox.signal(running.pid(), signal);
    let output = running.finish();
    assert_eq!(output.signal(), Some(signal.as_raw()), "{output:?}");
    assert_eq!(fixture.hook_log().lines().count(), 1);
}

#[test]
fn a_worker_that_was_ended_on_the_spot_ended_by_the_signal() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1, Signal::USR2] {
        ended_by(signal);
    }
}

/// SIGQUIT is one of those that dump core, which the kernel delivers in another way.
#[test]
fn by_sigquit_too() {
    for _ in 0..10 {
        ended_by(Signal::QUIT);
    }
}

#[test]
fn the_whole_process_group_is_waited_for() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture =
        sandbox.fixture("child-waits").set("fifo", &fifo).set("child_pid", sandbox.path("child"));
    // A group of its own, as a shell with job control gives it.
    let running = fixture.run(&["start", "--debug"]).under(&["setsid", "--wait"]).spawn();
    running.says(OK);
    let daemon = fixture.settled();
    let parent = stat(daemon).unwrap().parent;
    sandbox.signal(daemon, Signal::TERM);
    eventually("the daemon has ended", || !is_alive(daemon));
    let child: i32 = sandbox.read("child").parse().unwrap();
    eventually("the orphan is adopted", || stat(child).unwrap().parent == parent);
    assert!(is_alive(child) && is_alive(parent));
    assert!(!running.stdout().contains(GONE));
    fs::write(&fifo, "go\n").unwrap();
    running.finish().expect(0, &format!("{OK}{GONE}"), "");
    assert!(!is_alive(child));
}

/// Whose handle has been opened is looked at after that: a number that is listed may be another process's
/// by then, to which nothing is to be sent.
#[test]
fn who_is_waited_for_is_looked_at_again() {
    let name = "who_is_waited_for_is_looked_at_again";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let (fifo, log) = (sandbox.make_fifo("fifo"), sandbox.path("calls").display().to_string());
    let fixture =
        sandbox.fixture("child-waits").set("fifo", &fifo).set("child_pid", sandbox.path("child"));
    let strace =
        ["setsid", "--wait", "strace", "-o", &log, "-e", "trace=pidfd_open,openat,?poll,ppoll"];
    let running = fixture.run(&["start", "--debug"]).under(&strace).spawn();
    eventually("it says something", || !(running.stdout() + &running.stderr()).is_empty());
    if running.stderr().contains("strace: ") {
        return skip(name, "strace cannot trace");
    }
    running.says(OK);
    let daemon = fixture.settled();
    sandbox.signal(daemon, Signal::TERM);
    let child = sandbox.read("child");
    let opened = format!("pidfd_open({child},");
    eventually("the child is waited for", || sandbox.read("calls").contains(&opened));
    fs::write(&fifo, "go\n").unwrap();
    running.finish().expect(0, &format!("{OK}{GONE}"), "");
    let calls = sandbox.read("calls");
    let (_, after) = calls.split_once(&opened).unwrap();
    let looked = after.split("poll(").next().unwrap();
    assert!(looked.contains(&format!("\"/proc/{child}/stat\"")), "{after}");
}

#[test]
fn stop_and_status_work() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    let (running, pid) = begun(&fixture);
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    assert_eq!(stat(pid).unwrap().parent, running.pid());
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    running.finish().expect(0, &format!("{OK}{GONE}"), "");
}

#[test]
fn a_failure_at_start_up_is_told_as_in_the_background() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("on_start", "fail");
    let text = "ERROR: start hook: the stars are wrong\n";
    let output = fixture.run(&["start", "--debug"]).finish();
    output.expect(1, "Starting example ... FAILED\n", text);
    assert_eq!(sandbox.names(), Vec::<String>::new());

    let fixture = sandbox.fixture("sleep").set("ready", "0.2");
    let text = "ERROR: Timed out: the daemon was not ready within 200ms\n";
    let output = fixture.run(&["start", "--debug"]).finish();
    output.expect(1, "Starting example ...\nStarting example ... FAILED\n", text);
    sandbox.expect_nobody();
}

#[test]
fn detach_never_is_the_same() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("detach", "never");
    let running = fixture.run(&["start"]).spawn();
    running.says(OK);
    fixture.settled();
    sandbox.signal(running.pid(), Signal::TERM);
    assert_eq!(running.finish().code(), Some(0));
}

#[test]
fn the_daemon_does_not_outlive_a_killed_parent() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let (running, daemon) = begun(&fixture);
    sandbox.kill(running.pid());
    eventually("the daemon has ended", || !is_alive(daemon));
    assert_eq!(running.finish().signal(), Some(libc::SIGKILL));
    let log = "1|Exiting with message: its parent in the foreground has ended\n";
    assert_eq!(fixture.hook_log(), log);
}

#[test]
fn a_start_that_fails_has_an_end_although_the_hook_has_none() {
    let sandbox = Sandbox::new();
    let fixture =
        sandbox.fixture("sleep").set("ready", "0.2").set("stop", "0.2").set("hook", "hang");
    let output = fixture.foreground().finish();
    let text = "ERROR: Timed out: the daemon was not ready within 200ms\n";
    output.expect(1, "Starting example ...\nStarting example ... FAILED\n", text);
    sandbox.expect_nobody();
}

#[test]
fn output_before_ready_is_on_lines_of_its_own() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("print").set("ready", "10");
    let running = fixture.foreground();
    running.says("Starting example ...\nout\nStarting example ... OK\n");
    sandbox.signal(fixture.pid().unwrap(), Signal::TERM);
    running.finish();
}

#[test]
fn output_files_and_their_directories_are_not_made() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-ok").set("stdout", sandbox.path("log/out"));
    fixture.foreground().finish();
    assert_eq!(sandbox.names(), ["hook.log"]);
}

#[test]
fn a_daemon_that_is_killed_at_once_leaves_no_pid_file() {
    let sandbox = Sandbox::new();
    let output = sandbox.fixture("end-kill").foreground().finish();
    assert_eq!(output.signal(), Some(libc::SIGKILL), "{output:?}");
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

/// The parent waits for the daemon as its child, and not only as one of its group.
#[test]
fn a_worker_that_leaves_the_group() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-leaves-group");
    let running = fixture.foreground();
    running.says(OK);
    fixture.settled();
    sandbox.signal(running.pid(), Signal::TERM);
    assert_eq!(running.finish().signal(), Some(15));
    sandbox.expect_nobody();
}

/// An orphan of the daemon's in a group of its own becomes a child of the parent, which nobody but that can bury.
#[test]
fn it_buries_orphans_of_every_group() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture("child-orphan").set("fifo", &fifo);
    let (running, daemon) = begun(&fixture);
    let is_orphan =
        |pid: &i32| *pid != daemon && stat(*pid).is_some_and(|stat| stat.parent == running.pid());
    let mut orphan = None;
    eventually("the parent has adopted the orphan", || {
        orphan = sandbox.survivors().into_iter().find(is_orphan);
        orphan.is_some()
    });
    fs::write(&fifo, "go\n").unwrap();
    eventually("it is gone, and not a zombie", || stat(orphan.unwrap()).is_none());
    assert!(is_alive(daemon));
    sandbox.signal(running.pid(), Signal::TERM);
    assert_eq!(running.finish().signal(), None);
}

/// A CONT that comes while the parent passes the TSTP on, and is about to stop as well.
#[test]
fn a_stop_that_is_taken_back_stops_nobody() {
    let name = "a_stop_that_is_taken_back_stops_nobody";
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    let (running, daemon) = begun(&fixture);
    let slow = ["-e", "trace=kill", "-e", "inject=kill:delay_enter=300ms"];
    let Some(_strace) = attach(&fixture, running.pid(), &slow, name) else {
        return;
    };
    sandbox.signal(running.pid(), Signal::TSTP);
    let stopped = format!("kill({daemon}, SIGTSTP)");
    eventually("it has passed it on", || sandbox.read("calls").contains(&stopped));
    sandbox.signal(running.pid(), Signal::CONT);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert_eq!(running.finish().code(), Some(0));
}

/// A TSTP that comes when a CONT has been seen and not yet been taken: the kernel drops that.
#[test]
fn a_stop_takes_back_what_is_about_to_be_taken() {
    let name = "a_stop_takes_back_what_is_about_to_be_taken";
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    let (running, daemon) = begun(&fixture);
    let slow = ["-e", "trace=?poll,ppoll,read", "-e", "inject=read:delay_enter=500ms"];
    let Some(strace) = attach(&fixture, running.pid(), &slow, name) else {
        return;
    };
    sandbox.signal(running.pid(), Signal::CONT);
    eventually("it has seen it", || sandbox.read("calls").contains("revents=POLLIN"));
    sandbox.signal(running.pid(), Signal::TSTP);
    for pid in [daemon, running.pid()] {
        eventually("it has stopped", || {
            stat(pid).is_some_and(|stat| ['T', 't'].contains(&stat.state))
        });
    }
    // What it reads at its end needs no time.
    sandbox.signal(strace.pid(), Signal::TERM);
    strace.finish();
    sandbox.signal(running.pid(), Signal::CONT);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert_eq!(running.finish().code(), Some(0));
}
