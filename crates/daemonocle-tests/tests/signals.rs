//! Whatever its caller blocks or ignores: what a daemon, its threads and its programs do with signals is
//! the same in every mode.

use std::fs;

use daemonocle_tests::{
    Fixture, Pid, Run, Sandbox, eventually, reloaded, skip, stat, status_field,
};

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";

/// What callers are known to block and ignore, and a real-time signal.
const NAMES: &str = "HUP,INT,QUIT,TERM,USR1,USR2,CHLD,PIPE,40";

/// What a daemon handles when nothing else is said.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
/// What a keeper handles beside these: it passes them on, or must not stop.
const PASSED_ON: [i32; 4] = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGTSTP, libc::SIGCONT];
/// What the Rust runtime handles, to tell an overflow of the stack from other crashes.
const RUNTIME: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

fn set_of(signals: &[i32]) -> u64 {
    signals.iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

/// A set of signals in the words of /proc, without the two that belong to the C library.
fn parse(set: &str) -> u64 {
    u64::from_str_radix(set, 16).unwrap() & !(0b11 << (32 - 1))
}

fn signals(pid: Pid, set: &str) -> u64 {
    parse(&status_field(pid, set))
}

/// The signals that each thread of a process blocks.
fn blocked(pid: Pid) -> Vec<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let status = threads.map(|thread| fs::read_to_string(thread.path().join("status")).unwrap());
    let line = |text: String| {
        text.lines().find_map(|line| line.strip_prefix("SigBlk:")).map(|set| parse(set.trim()))
    };
    status.map(|text| line(text).unwrap()).collect()
}

/// A daemon of ours has a thread of the library's beside its own, and neither blocks anything; what is
/// ignored is what the Rust runtime wants so.
#[track_caller]
fn expect_ours(pid: Pid, handled: &[i32]) {
    assert_eq!(blocked(pid), [0, 0]);
    assert_eq!(signals(pid, "ShdPnd") | signals(pid, "SigPnd"), 0);
    assert_eq!(signals(pid, "SigIgn"), set_of(&[libc::SIGPIPE]));
    assert_eq!(signals(pid, "SigCgt"), set_of(&[handled, &RUNTIME].concat()));
}

/// A program begins with nothing blocked, ignored or handled.
#[track_caller]
fn expect_program(pid: Pid) {
    eventually("it is the program", || {
        fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"sleep\n")
    });
    assert_eq!(blocked(pid), [0]);
    assert_eq!((signals(pid, "SigIgn"), signals(pid, "SigCgt")), (0, 0));
}

/// A worker, and the program that it runs.
#[track_caller]
fn expect_worker(sandbox: &Sandbox, pid: Pid) {
    expect_ours(pid, &ENDING);
    expect_program(sandbox.read("child").parse().unwrap());
}

/// A program as the worker, and its keeper.
#[track_caller]
fn expect_kept(pid: Pid) {
    expect_program(pid);
    expect_ours(stat(pid).unwrap().parent, &[ENDING, PASSED_ON].concat());
}

/// What callers do, as programs that do it.
const CALLERS: [&[&str]; 3] = [
    &["env", "--block-signal"],
    &["env", "--ignore-signal"],
    &["env", "--block-signal", "--ignore-signal"],
];

/// The command under such a caller.
fn under(run: Run, caller: &[&str]) -> Run {
    let words: Vec<_> = caller
        .iter()
        .map(|word| if word.starts_with("--") { format!("{word}={NAMES}") } else { (*word).into() })
        .collect();
    run.under(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn is_skipped(name: &str) -> bool {
    let probe = std::process::Command::new("env").args(["--block-signal=TERM", "true"]).output();
    let is_there = probe.is_ok_and(|output| output.status.success());
    if !is_there {
        skip(name, "needs an env that knows --block-signal");
    }
    !is_there
}

fn worker(sandbox: &Sandbox) -> Fixture<'_> {
    sandbox.fixture("child-sleep").set("on_hup", "yes").set("child_pid", sandbox.path("child"))
}

fn program(sandbox: &Sandbox) -> Fixture<'_> {
    sandbox.fixture("none").set("exec", "sleep\n3600")
}

/// Reloads on behalf of such a caller, and looks at what has come.
#[track_caller]
fn expect_reload(fixture: &Fixture<'_>, caller: &[&str]) {
    expect_worker(fixture.sandbox(), reloaded(fixture));
    let reload = under(fixture.run(&["reload"]), caller).finish();
    reload.expect(0, "Reloading example ... OK\n", "");
    expect_worker(fixture.sandbox(), fixture.settled());
}

#[test]
fn a_worker_in_the_background() {
    if is_skipped("a_worker_in_the_background") {
        return;
    }
    for caller in CALLERS {
        let sandbox = Sandbox::new();
        let fixture = worker(&sandbox);
        under(fixture.run(&["start"]), caller).finish().expect(0, OK, "");
        expect_worker(&sandbox, fixture.settled());
        expect_reload(&fixture, caller);
        under(fixture.run(&["stop"]), caller).finish().expect(0, STOPPED, "");
        assert_eq!(fixture.hook_log().lines().last(), Some("143|Terminated by SIGTERM (15)"));
    }
}

/// The command in the foreground ends as the daemon does, by a signal that its caller has kept from it.
#[test]
fn a_worker_in_the_foreground() {
    if is_skipped("a_worker_in_the_foreground") {
        return;
    }
    for caller in CALLERS {
        let sandbox = Sandbox::new();
        let fixture = worker(&sandbox);
        let running = under(fixture.run(&["start", "--debug"]), caller).spawn();
        running.says(OK);
        expect_worker(&sandbox, fixture.settled());
        expect_reload(&fixture, caller);
        under(fixture.run(&["stop"]), caller).finish().expect(0, STOPPED, "");
        // In the foreground they are waited for, those from before the reloads too.
        for pid in sandbox.survivors().into_iter().filter(|pid| *pid != running.pid()) {
            sandbox.kill(pid);
        }
        assert_eq!(running.finish().signal(), Some(libc::SIGTERM));
    }
}

#[test]
fn a_program_in_the_background() {
    if is_skipped("a_program_in_the_background") {
        return;
    }
    for caller in CALLERS {
        let sandbox = Sandbox::new();
        let fixture = program(&sandbox);
        under(fixture.run(&["start"]), caller).finish().expect(0, OK, "");
        expect_kept(fixture.settled());
        under(fixture.run(&["stop"]), caller).finish().expect(0, STOPPED, "");
        assert_eq!(fixture.hook_log(), "143|Terminated by SIGTERM (15)\n");
    }
}

#[test]
fn a_program_in_the_foreground() {
    if is_skipped("a_program_in_the_foreground") {
        return;
    }
    for caller in CALLERS {
        let sandbox = Sandbox::new();
        let fixture = program(&sandbox);
        let running = under(fixture.run(&["start", "--debug"]), caller).spawn();
        running.says(OK);
        expect_kept(fixture.settled());
        under(fixture.run(&["stop"]), caller).finish().expect(0, STOPPED, "");
        assert_eq!(running.finish().signal(), Some(libc::SIGTERM));
    }
}
