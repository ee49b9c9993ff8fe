//! What else happens while a daemon reloads: to its children, its parent, and to who has a number of theirs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use daemonocle_tests::{
    Fixture, LIFE, Lock, Pid, Running, STARTUP, Sandbox, attach, eventually, holder, is_alive,
    reloading, stat, tell, within,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";

/// A child that the worker has forked meanwhile does not keep the successor from hearing that the old one
/// is dead, and its start given up.
#[test]
fn a_child_of_the_old_one_keeps_no_successor_alive() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("where", "forks");
    let old = fixture.started();
    sandbox.write("plan", "wait");
    tell(&fixture);
    let told = |end: &str| {
        let out = sandbox.read("out");
        out.lines().find_map(|line| line.strip_suffix(end)).and_then(|pid| pid.parse::<Pid>().ok())
    };
    eventually("the new one is on its way", || told(" waits").is_some());
    tell(&fixture);
    eventually("there is a child", || told(" is forked").is_some());
    sandbox.kill(old);
    let child = told(" is forked").unwrap();
    eventually("only the child is left", || sandbox.survivors() == [child]);
}

/// Its parent in the foreground has a signal for the daemon, and does not know yet who that is.
#[test]
fn a_signal_during_the_handover() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("where", "lingers");
    let running = fixture.foreground();
    running.says("Starting example ... OK\n");
    let old = fixture.settled();
    tell(&fixture);
    eventually("a new one has it", || fixture.pid().is_some_and(|pid| pid != old));
    let new = fixture.settled();
    sandbox.signal(running.pid(), Signal::TERM);
    running.says("Received signal SIGTERM (15). Forwarding to child...\n");
    eventually("it has come to the new one", || !is_alive(new));
    assert!(is_alive(old), "the old one finishes what it has begun");
    tell(&fixture);
    let output = running.finish();
    assert_eq!(output.signal(), Some(15), "{output:?}");
    assert_eq!(
        fixture.hook_log(),
        format!("143|Terminated by SIGTERM (15)\n0|Shutting down for reload\n")
    );
    sandbox.expect_nobody();
}

/// Where the kernel buries a successor that has failed, its number may be somebody else's by the time
/// that it would be killed.
#[test]
fn nobody_is_signalled_by_the_number_of_a_successor_that_is_gone() {
    let name = "nobody_is_signalled_by_the_number_of_a_successor_that_is_gone";
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox, "reloads").set("where", "careless");
    let pid = fixture.started();
    // Slowed down, so that the successor is gone whenever anybody looks for it.
    let slow = ["-e", "trace=kill,waitid", "-e", "inject=kill,waitid:delay_enter=200ms"];
    let Some(_strace) = attach(&fixture, pid, &slow, name) else {
        return;
    };
    sandbox.write("plan", "exit");
    tell(&fixture);
    let why = "9: Child exited immediately with exit code 9\n";
    eventually("it has said why not", || sandbox.read("out").ends_with(why));
    let mut calls = String::new();
    eventually("it has looked for it", || {
        calls = sandbox.read("calls");
        calls.contains("ECHILD") || calls.contains("kill(")
    });
    assert!(!calls.contains("kill("), "{calls}");
}

/// Who asks for the end while one hands over to the other means both. And the file of a socket is the
/// successor's as soon as that may have taken over, whatever becomes of the old one.
#[test]
fn the_old_one_ends_while_it_hands_over() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock");
    let listen = sandbox.write("listen", format!("ctl {}\n", path.display()));
    let fixture = sandbox.fixture("serves").set("on_hup", "yes").set("listen", listen);
    let fixture = fixture.set("out", sandbox.write("out", ""));
    let fixture = fixture.set("changes", sandbox.write("changes", ""));
    let old = fixture.started();
    let name = "the_old_one_ends_while_it_hands_over";
    let Some(_strace) = handing_over(&fixture, old, "100ms", name) else {
        return;
    };
    sandbox.signal(old, Signal::TERM);
    let line = "0|Terminated by SIGTERM (15)\n";
    eventually("its hook has run", || fixture.hook_log() == line);
    // The new one stays before its own, until this is opened.
    let fifo = sandbox.make_fifo("fifo");
    sandbox.write("changes", format!("FIFO={}\n", fifo.display()));
    eventually("the old one is gone", || !is_alive(old));
    assert!(fixture.pid().is_some_and(|new| new != old && is_alive(new)));
    assert!(path.exists());
    let open = || OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo);
    eventually("the new one has been asked as well", || open().is_ok());
    eventually("its hook has run, too", || fixture.hook_log() == line.repeat(2));
    eventually("it has removed its files", || !path.exists() && !fixture.pid_file().exists());
}

/// Also where it comes by way of the parent, who has not heard yet that there is another one.
#[test]
fn its_parent_is_asked_to_end_while_it_hands_over() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes");
    let running = fixture.foreground();
    running.says(OK);
    let old = fixture.settled();
    let name = "its_parent_is_asked_to_end_while_it_hands_over";
    let Some(_strace) = handing_over(&fixture, old, "300ms", name) else {
        return;
    };
    sandbox.signal(running.pid(), Signal::TERM);
    assert_eq!(running.finish().code(), Some(0));
    sandbox.expect_nobody();
}

/// Its worker has returned by itself just then, which is not the end of the daemon.
#[test]
fn the_old_one_is_asked_to_end_when_it_ends_while_it_hands_over() {
    let sandbox = Sandbox::new();
    let [first, second] = ["first", "second"].map(|name| sandbox.make_fifo(name));
    let fixture = sandbox.fixture("end-ok").set("on_hup", "yes").set("trigger", first);
    let fixture = fixture.set("changes", sandbox.write("changes", ""));
    let old = fixture.started();
    sandbox.write("changes", format!("TRIGGER={}\n", second.display()));
    let name = "the_old_one_is_asked_to_end_when_it_ends_while_it_hands_over";
    let Some(_strace) = handing_over(&fixture, old, "300ms", name) else {
        return;
    };
    sandbox.write("first", "");
    let returned = "0|Shutting down normally\n";
    eventually("its hook has run", || fixture.hook_log() == returned);
    sandbox.signal(old, Signal::TERM);
    let asked = format!("{returned}143|Terminated by SIGTERM (15)\n");
    eventually("the new one has been asked", || fixture.hook_log() == asked);
    sandbox.expect_nobody();
}

/// Somebody who may write the file takes the lock that both need: nobody would find the daemon any more. It ends,
/// and does not wait for itself.
#[test]
fn a_daemon_that_cannot_take_its_file_back() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes");
    fixture.started();
    // To open it once more here, as everybody does who reads the PID, and close it again would drop the lock.
    let file = File::options().read(true).write(true).open(fixture.pid_file()).unwrap();
    let file = Arc::new(file);
    let theirs = Arc::clone(&file);
    let thief = thread::spawn(move || Lock::Own.take(&theirs, LIFE..LIFE + 1));
    let waiting = format!("-> POSIX  ADVISORY  WRITE {} ", std::process::id());
    eventually("the thief waits", || fs::read_to_string("/proc/locks").unwrap().contains(&waiting));
    // Where the successor is faster than the thief, it is the one to be robbed next.
    let mut old = None;
    eventually("the lock is taken", || {
        let now = holder(&file, LIFE);
        if now != old && now != Pid::try_from(std::process::id()).ok() {
            old = now.inspect(|&daemon| sandbox.signal(daemon, Signal::HUP));
        }
        thief.is_finished()
    });
    let old = old.unwrap();
    eventually("its hook has run", || fixture.hook_log().contains("and PID file"));
    let is_gone = within(Duration::from_secs(6), || (!is_alive(old)).then_some(()));
    assert!(is_gone.is_some(), "it waits for something: {}", fixture.hook_log());
    drop(file);
    sandbox.expect_nobody();
}

/// Makes it reload, and waits until it has let go of its locks, which it does so slowly that more can happen
/// before the new one has them. `None`: skipped.
fn handing_over(fixture: &Fixture<'_>, old: Pid, delay: &str, name: &str) -> Option<Running> {
    let slow = format!("inject=fcntl:delay_enter={delay}");
    let strace = attach(fixture, old, &["-f", "-e", "trace=fcntl", "-e", &slow], name)?;
    fixture.sandbox().signal(old, Signal::HUP);
    let file = File::open(fixture.pid_file()).unwrap();
    eventually("it has let go", || holder(&file, LIFE).is_none());
    Some(strace)
}

/// In the middle of a handover neither has all locks of a daemon. If just then the file is deleted, the old one
/// stays the daemon, and nobody starts another one.
#[test]
fn the_file_is_deleted_while_it_is_handed_over() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes");
    let old = fixture.started();
    let name = "the_file_is_deleted_while_it_is_handed_over";
    let Some(_strace) = handing_over(&fixture, old, "300ms", name) else {
        return;
    };
    fs::remove_file(fixture.pid_file()).unwrap();
    let status = fixture.status();
    let start = fixture.start();
    // The byte by which a successor names its predecessor is the first that it takes.
    let first = format!("l_start={}", (1_i64 << 33) + i64::from(old));
    assert!(!sandbox.read("calls").contains(&first), "too late: {}", sandbox.read("calls"));
    assert!(status.stdout.starts_with(&format!("example -- pid: {old}, ")), "{status:?}");
    start.expect_error(
        1,
        "Starting example ... FAILED\n",
        &["already running", &old.to_string(), "deleted"],
    );
    let mut after = fixture.status();
    eventually("the new one is gone", || {
        after = fixture.status();
        sandbox.survivors().len() == 2
    });
    assert!(after.stdout.starts_with(&format!("example -- pid: {old}, ")), "{after:?}");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    sandbox.expect_nobody();
}

/// Its worker is running already, and shares the PID file: were it left to itself, a new daemon could be
/// started beside it.
#[test]
fn who_was_to_take_over_does_not_outlive_it() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("reloads").set("on_hup", "yes").set("fifo", sandbox.path("fifo"));
    let fixture =
        fixture.set("out", sandbox.write("out", "")).set("plan", sandbox.write("plan", ""));
    let fixture = fixture.set("changes", sandbox.write("changes", ""));
    let fifo = sandbox.make_fifo("fifo");
    let old = fixture.started();
    sandbox.write("plan", "wait-child");
    // Its shutdown hook waits for a reader, so that it does not end by itself.
    sandbox.write("changes", format!("HOOK_LOG={}\n", fifo.display()));
    sandbox.signal(old, Signal::HUP);
    let mut new = 0;
    eventually("the new one is coming", || {
        let out = sandbox.read("out");
        let line = out.lines().find_map(|line| line.strip_suffix(" waits"));
        line.is_some_and(|pid| pid.parse().map(|pid| new = pid).is_ok())
    });
    sandbox.write("changes", "");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(new));
    // Nor does what it has made.
    sandbox.expect_nobody();
}

/// Nobody can be named as the daemon for as long as the old one has not let go of the PID file.
#[test]
fn the_new_one_dies_before_the_old_one_has_let_go() {
    let name = "the_new_one_dies_before_the_old_one_has_let_go";
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes");
    let old = fixture.started();
    let slow = ["-f", "-e", "trace=dup3", "-e", "inject=dup3:delay_enter=300ms"];
    let Some(_strace) = attach(&fixture, old, &slow, name) else {
        return;
    };
    sandbox.signal(old, Signal::HUP);
    eventually("the new one has the PID file", || fixture.pid().is_some_and(|pid| pid != old));
    let new = fixture.pid().unwrap();
    // Until the start is over.
    let file = File::options().read(true).write(true).open(fixture.pid_file()).unwrap();
    Lock::Write.take(&file, STARTUP..STARTUP + 1);
    drop(file);
    sandbox.kill(new);
    fixture.status().expect(1, "example -- not running\n", "");
    let another = fixture.started();
    assert!(another != old && another != new);
}

/// Whoever has sent it wants what he has written by then to be read.
#[test]
fn a_plain_signal_that_comes_during_a_reload_is_for_the_new_one() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready-late").set("on_hup", "yes").set("ready", "60");
    let fixture = fixture.set("fifo", sandbox.make_fifo("fifo"));
    let open = || {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        rustix::fs::open(sandbox.path("fifo"), flags, rustix::fs::Mode::empty())
    };
    let start = fixture.run(&["start"]).spawn();
    eventually("it has been let go", || open().is_ok());
    start.finish().expect(0, "Starting example ... OK\n", "");
    let first = fixture.settled();
    sandbox.signal(first, Signal::HUP);
    let mut both = Vec::new();
    eventually("a new one is coming", || {
        both = sandbox.survivors();
        both.len() == 2
    });
    let threads = || stat(first).map_or(0, |stat| stat.threads);
    let before = threads();
    sandbox.signal(first, Signal::HUP);
    eventually("it has been heard", || threads() > before);
    eventually("there is a third one", || {
        drop(open());
        fixture.pid().is_some_and(|pid| !both.contains(&pid))
    });
}
