//! The action `reload`: asks the daemon to, and tells how it went.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use daemonocle_tests::{
    Fixture, Output, Pid, Sandbox, detach, eventually, is_alive, is_root, skip, skip_unless_root,
    skip_unless_there_is, status_field,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const RELOADED: &str = "Reloading example ... OK\n";
const FAILED: &str = "Reloading example ... FAILED\n";

/// A daemon that reloads when it is asked to.
fn reloading(sandbox: &Sandbox) -> Fixture<'_> {
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture("reloads").set("on_hup", "yes").set("fifo", fifo);
    fixture.set("out", sandbox.write("out", "")).set("plan", sandbox.write("plan", ""))
}

#[track_caller]
fn reload(fixture: &Fixture<'_>) -> Output {
    fixture.run(&["reload"]).finish()
}

/// Waits until one process is left, which is the daemon.
#[track_caller]
fn expect_running(fixture: &Fixture<'_>) -> Pid {
    let mut pid = 0;
    eventually("one is left, and is the daemon", || {
        pid = fixture.pid().unwrap_or_default();
        fixture.sandbox().survivors() == [pid]
    });
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    pid
}

#[test]
fn it_returns_when_the_new_one_is_the_daemon() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    let mut old = fixture.started();
    for _ in 0..5 {
        reload(&fixture).expect(0, RELOADED, "");
        let new = fixture.pid().unwrap();
        assert_ne!(new, old);
        assert!(is_alive(new) && !is_alive(old));
        let warning = format!("WARNING: example already running with PID {new}\n");
        fixture.start().expect(0, "", &warning);
        old = new;
    }
    expect_running(&fixture);
    assert_eq!(fixture.hook_log(), "0|Shutting down for reload\n".repeat(5));
    fixture.stop().expect(0, STOPPED, "");
    sandbox.expect_nobody();
}

/// The reason of the new process, in its words and with its exit code, and the old one goes on.
#[test]
fn it_tells_why_not() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox).set("ready", "0.5");
    let pid = fixture.started();
    for (plan, code, text) in [
        ("fail", 1, "Child exited immediately with exit code 1: the new one does not like it here"),
        ("child", 1, "Child exited immediately with exit code 1: and there is a child"),
        ("exit", 9, "Child exited immediately with exit code 9"),
        ("panic", 101, "Child exited immediately with exit code 101: no new one at all"),
        ("kill", 134, "Child exited immediately with exit code 134: SIGABRT (6)"),
        ("hang", 1, "Timed out: the daemon was not ready within 500ms"),
    ] {
        sandbox.write("plan", plan);
        reload(&fixture).expect(code, FAILED, &format!("ERROR: {text}\n"));
        assert_eq!(expect_running(&fixture), pid);
    }
    sandbox.write("plan", "");
    reload(&fixture).expect(0, RELOADED, "");
}

#[test]
fn nobody_is_there() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    reload(&fixture).expect(1, "", "WARNING: example is not running\n");
    let pid = fixture.started();
    sandbox.kill(pid);
    reload(&fixture).expect(1, "", "WARNING: example is not running\n");
}

/// The signal would end it.
#[test]
fn a_daemon_that_does_not_reload_is_not_asked_to() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    let plain = fixture.clone().unset("on_hup");
    for other in [
        plain.clone(),
        // A program that is the daemon gets HUP itself.
        plain.clone().set("exec", "sleep\n600"),
    ] {
        let pid = other.started();
        let why = format!(
            "ERROR: process {pid} does not reload: it was started without reload_on_hup, or is about to \
             end\n"
        );
        reload(&fixture).expect(1, "", &why);
        assert!(is_alive(pid));
        assert_eq!(other.pid(), Some(pid));
        other.stop().expect(0, STOPPED, "");
    }
    // And where the definition does not say so, there is no such action.
    let output = reload(&plain);
    output.expect_error(2, "", &["unrecognized subcommand 'reload'"]);
}

/// It cannot be handed on, and nothing else is to be blamed for that.
#[test]
fn the_pid_file_is_gone() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    let pid = fixture.started();
    fs::remove_file(fixture.pid_file()).unwrap();
    let why = format!(
        "ERROR: process {pid} cannot reload, since somebody has deleted or moved its PID file {}: restart \
         it\n",
        fixture.pid_file().display()
    );
    reload(&fixture).expect(1, "", &why);
    fixture.restart().expect(0, &format!("{STOPPED}{OK}"), "");
}

#[test]
fn a_program_is_not_started_with_what_it_cannot_do() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox).set("exec", "sleep\n600");
    let why = "ERROR: reload_on_hup: a program cannot reload, and gets HUP itself: leave reload_on_hup \
               out\n";
    fixture.start().expect(1, "Starting example ... FAILED\n", why);
    fixture.restart().expect(1, "", why);
    sandbox.expect_nobody();
    assert!(!fixture.pid_file().exists());
}

#[test]
fn it_is_among_the_actions() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    let calls = |list: &str| fixture.clone().set("calls", list).run(&[]).finish();
    let list = r#"["start", "stop", "restart", "status", "reload"]"#;
    calls("actions").expect(0, &format!("{list}\n"), "");
    calls("reload,do reload").expect(0, "reload: NotRunning\ndo reload: NotRunning\n", "");
    fixture.started();
    let output = calls("reload");
    let new = fixture.pid().unwrap();
    output.expect(0, &format!("reload: Reloaded {{ pid: Pid({new}) }}\n"), "");
    let output = calls("do reload");
    let new = fixture.pid().unwrap();
    output.expect(0, &format!("do reload: Reloaded {{ pid: Pid({new}) }}\n"), "");
    let help = fixture.run(&["reload", "--help"]).finish();
    assert!(help.stdout.starts_with("Reload the daemon.\n"), "{help:?}");
}

/// Everybody gets what he has asked for, by one reload after the other.
#[test]
fn by_many_at_once() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    let first = fixture.started();
    for _ in 0..5 {
        let clients: Vec<_> = (0..8).map(|_| fixture.run(&["reload"]).spawn()).collect();
        for client in clients {
            client.finish().expect(0, RELOADED, "");
        }
    }
    assert_ne!(expect_running(&fixture), first);
}

/// A signal that meets another HUP which has not been seen yet is lost, and sent once more.
#[test]
fn although_the_signal_is_lost() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    let pid = fixture.started();
    sandbox.signal(pid, Signal::STOP);
    sandbox.signal(pid, Signal::HUP);
    let client = fixture.run(&["reload"]).spawn();
    client.says("Reloading example ...");
    let is_pending = |name| u64::from_str_radix(&status_field(pid, name), 16).unwrap() & 1 == 1;
    eventually("the signal is there", || is_pending("ShdPnd"));
    sandbox.write("plan", "exit");
    sandbox.signal(pid, Signal::CONT);
    client.finish().expect(9, FAILED, "ERROR: Child exited immediately with exit code 9\n");
    assert_eq!(expect_running(&fixture), pid);
}

/// By the time that it sees who has connected, the old one would be gone, and the new one have to be asked.
#[test]
fn one_who_is_slow_to_look_makes_it_reload_once() {
    let name = "one_who_is_slow_to_look_makes_it_reload_once";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    fixture.started();
    let slow = ["strace", "-o", "/dev/null", "-e", "inject=accept,accept4:delay_enter=500ms"];
    let client = fixture.run(&["reload"]).under(&slow).finish();
    if client.stderr.contains("strace: ") {
        return skip(name, &format!("strace cannot trace: {}", client.stderr.trim()));
    }
    client.expect(0, RELOADED, "");
    expect_running(&fixture);
    assert_eq!(fixture.hook_log(), "0|Shutting down for reload\n");
}

/// Whoever waits for an answer may be stopped before it comes: the daemon does not wait for him.
#[test]
fn one_who_does_not_look_keeps_nobody_from_reloading() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox).set("ready", "20");
    let old = fixture.started();
    sandbox.signal(old, Signal::STOP);
    let client = fixture.run(&["reload"]).spawn();
    let is_asked = || u64::from_str_radix(&status_field(old, "ShdPnd"), 16).unwrap() & 1 == 1;
    eventually("it is asked", is_asked);
    sandbox.signal(client.pid(), Signal::STOP);
    sandbox.signal(old, Signal::CONT);
    eventually("it has reloaded", || fixture.pid() != Some(old) && !is_alive(old));
    sandbox.signal(client.pid(), Signal::CONT);
    // It has heard from nobody whom it knows, and asks the new one.
    client.finish().expect(0, RELOADED, "");
    expect_running(&fixture);
}

/// One that dies while it reloads is not one that has reloaded.
#[test]
fn a_daemon_that_is_killed_meanwhile() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox).set("ready", "20");
    let pid = fixture.started();
    sandbox.write("plan", "hang");
    let client = fixture.run(&["reload"]).spawn();
    eventually("it reloads", || sandbox.survivors().len() == 3);
    sandbox.kill(pid);
    let why = format!("ERROR: example (PID {pid}) has ended instead of reloading\n");
    client.finish().expect(1, FAILED, &why);
    sandbox.expect_nobody();
    fixture.status().expect(1, "example -- not running\n", "");
}

/// Nor is one whose new process has died by the time the old one has ended.
#[test]
fn a_new_daemon_that_is_killed_meanwhile() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox).set("hook", "hang").set("stop", "20");
    let old = fixture.started();
    let client = fixture.run(&["reload"]).spawn();
    eventually("the old one is about to end", || !fixture.hook_log().is_empty());
    let new = fixture.pid().unwrap();
    sandbox.kill(new);
    eventually("it is gone", || fixture.status().code() == Some(1));
    sandbox.kill(old);
    let why = format!("ERROR: example (PID {new}) has taken over, and ended since\n");
    client.finish().expect(1, FAILED, &why);
    sandbox.expect_nobody();
}

/// The signal would end a daemon that is not ready for it.
#[test]
fn while_it_is_starting() {
    let name = "while_it_is_starting";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    // It takes its time to be.
    let slow = ["-e", "trace=rt_sigaction", "-e", "inject=rt_sigaction:delay_enter=50ms"];
    let strace = [&["strace", "-f", "-o", "/dev/null"], &slow[..]].concat();
    let start = fixture.run(&["start"]).under(&strace).spawn();
    eventually("there is somebody", || {
        fixture.pid().is_some() || start.stderr().contains("strace: ")
    });
    if start.stderr().contains("strace: ") {
        return skip(name, &format!("strace cannot trace: {}", start.stderr().trim()));
    }
    let first = fixture.pid().unwrap();
    reload(&fixture).expect(0, RELOADED, "");
    start.says(OK);
    assert_ne!(fixture.pid(), Some(first));
    fixture.stop().expect(0, STOPPED, "");
    start.finish().expect(0, OK, "");
}

/// Its PID file is nowhere when it is looked for, and has been made by the time that the daemon is found by
/// other means.
#[test]
fn a_daemon_that_comes_up_meanwhile_has_lost_nothing() {
    let name = "a_daemon_that_comes_up_meanwhile_has_lost_nothing";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    let log = sandbox.path("calls").display().to_string();
    let slow = ["-e", "trace=openat,fcntl", "-e", "inject=fcntl:delay_enter=60ms"];
    let strace = [&["strace", "-D", "-o", &log], &slow[..]].concat();
    let client = fixture.run(&["reload"]).under(&strace).spawn();
    eventually("it has missed the file, and looks for signs", || {
        sandbox.read("calls").contains(", \".\", O_RDONLY") || client.stderr().contains("strace: ")
    });
    if client.stderr().contains("strace: ") {
        return skip(name, &format!("strace cannot trace: {}", client.stderr().trim()));
    }
    sandbox.signal(client.pid(), Signal::STOP);
    let first = fixture.started();
    sandbox.signal(client.pid(), Signal::CONT);
    detach(&client, &sandbox);
    client.finish().expect(0, RELOADED, "");
    assert_ne!(fixture.pid(), Some(first));
}

/// Whoever asks again has asked once, unless nobody is about it any more.
#[test]
fn after_a_shortage() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes").set("stderr", sandbox.path("err"));
    // poll(2) needs as many as it is given.
    let mut cases = vec![(Resource::Nofile, 3, "cannot reload: cannot make a channel")];
    match is_root() {
        true => skip("after_a_shortage", "root is never short of threads"),
        false => cases.push((Resource::Nproc, 0, "cannot reload: cannot start a thread")),
    }
    for (resource, limit, why) in cases {
        let pid = rustix::process::Pid::from_raw(fixture.started());
        let few = Rlimit { current: Some(limit), maximum: getrlimit(resource).maximum };
        let before = prlimit(pid, resource, few).unwrap();
        let client = fixture.run(&["reload"]).spawn();
        eventually("it cannot", || sandbox.read("err").contains(why));
        prlimit(pid, resource, before).unwrap();
        client.finish().expect(0, RELOADED, "");
        fixture.stop().expect(0, STOPPED, "");
        sandbox.write("err", "");
    }
}

#[test]
fn in_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    let running = fixture.foreground();
    running.says(OK);
    let mut old = fixture.settled();
    for _ in 0..3 {
        reload(&fixture).expect(0, RELOADED, "");
        let new = fixture.pid().unwrap();
        assert_ne!(new, old);
        old = new;
    }
    fixture.stop().expect(0, STOPPED, "");
    running.finish();
}

/// The answer comes from a process that may do less than the one who has asked.
#[test]
fn a_daemon_of_another_user() {
    if skip_unless_root("a_daemon_of_another_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("theirs", 0o777);
    let fixture = reloading(&sandbox).for_everybody().set("user", "nobody");
    let fixture = fixture.set("out", dir.join("out")).set("hook_log", dir.join("hook.log"));
    fs::set_permissions(sandbox.path("fifo"), fs::Permissions::from_mode(0o666)).unwrap();
    let old = fixture.started();
    reload(&fixture).expect(0, RELOADED, "");
    assert_ne!(fixture.pid(), Some(old));
    sandbox.write("plan", "exit");
    reload(&fixture).expect(9, FAILED, "ERROR: Child exited immediately with exit code 9\n");

    // And somebody else may not ask.
    let output = fixture.run(&["reload"]).as_user(65533, 65533).finish();
    let why = ["cannot signal example (PID ", "): Operation not permitted\n"];
    output.expect_error(1, FAILED, &why);
    fixture.stop().expect(0, STOPPED, "");
}

/// From there no answer comes; but what has become of the daemon can be seen.
#[test]
fn a_daemon_in_another_network_namespace() {
    let name = "a_daemon_in_another_network_namespace";
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox);
    fixture.run(&["start"]).under(&["unshare", "--net"]).finish().expect(0, OK, "");
    let old = fixture.pid().unwrap();
    reload(&fixture).expect(0, RELOADED, "");
    assert_ne!(fixture.pid(), Some(old));
    fs::remove_file(fixture.pid_file()).unwrap();
    fixture.stop().expect(0, STOPPED, "");
}

/// And whoever is not answered, and so asks again, has asked once.
#[test]
fn a_failure_in_another_network_namespace() {
    let name = "a_failure_in_another_network_namespace";
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = reloading(&sandbox).set("stderr", sandbox.path("err"));
    let fixture = fixture.set("ready", "1.5").set("stop", "1");
    fixture.run(&["start"]).under(&["unshare", "--net"]).finish().expect(0, OK, "");
    let pid = fixture.pid().unwrap();
    sandbox.write("plan", "exit");
    let why = format!("ERROR: Timed out while waiting for example (PID {pid}) to reload\n");
    reload(&fixture).expect(1, FAILED, &why);
    assert_eq!(sandbox.read("err"), "ERROR: Child exited immediately with exit code 9\n");
    assert_eq!(expect_running(&fixture), pid);
}
