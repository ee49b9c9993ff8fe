//! What else happens while the action `reload` asks, and waits for the answer.

use daemonocle_tests::{
    Pid, Sandbox, detach, eventually, expect_one_left, is_alive, is_root, reloading_on_hup, skip,
    skip_unless_there_is, status_field,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const RELOADED: &str = "Reloading example ... OK\n";
const FAILED: &str = "Reloading example ... FAILED\n";

/// A signal that meets another HUP which has not been seen yet is lost, and sent once more.
#[test]
fn although_the_signal_is_lost() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox);
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
    assert_eq!(expect_one_left(&fixture), pid);
}

/// By the time that it sees who has connected, the old one would be gone, and the new one have to be asked.
#[test]
fn one_who_is_slow_to_look_makes_it_reload_once() {
    let name = "one_who_is_slow_to_look_makes_it_reload_once";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox);
    fixture.started();
    let slow = ["strace", "-o", "/dev/null", "-e", "inject=accept,accept4:delay_enter=500ms"];
    let client = fixture.run(&["reload"]).under(&slow).finish();
    if client.stderr.contains("strace: ") {
        return skip(name, &format!("strace cannot trace: {}", client.stderr.trim()));
    }
    client.expect(0, RELOADED, "");
    expect_one_left(&fixture);
    assert_eq!(fixture.hook_log(), "0|Shutting down for reload\n");
}

/// Whoever waits for an answer may be stopped before it comes: the daemon does not wait for him.
#[test]
fn one_who_does_not_look_keeps_nobody_from_reloading() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox).set("ready", "20");
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
    expect_one_left(&fixture);
}

/// One that dies while it reloads is not one that has reloaded.
#[test]
fn a_daemon_that_is_killed_meanwhile() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox).set("ready", "20");
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
    let fixture = reloading_on_hup(&sandbox).set("hook", "hang").set("stop", "20");
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
    let fixture = reloading_on_hup(&sandbox);
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
    fixture.reload().expect(0, RELOADED, "");
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
    let fixture = reloading_on_hup(&sandbox);
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
fn after_a_shortage_of_descriptors() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes").set("stderr", sandbox.path("err"));
    let pid = fixture.started();
    // poll(2) needs as many as it is given.
    let before = limit(pid, Resource::Nofile, 3);
    let client = fixture.run(&["reload"]).spawn();
    let why = "cannot reload: cannot make a channel";
    eventually("it cannot", || sandbox.read("err").contains(why));
    before();
    client.finish().expect(0, RELOADED, "");
}

/// The daemon that lacks them can still tell.
#[test]
fn a_shortage_of_threads_is_told() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes");
    // In bytes: less than there is already.
    let mut cases = vec![(Resource::As, 1 << 20, "Cannot allocate memory")];
    match is_root() {
        true => skip("a_shortage_of_threads_is_told", "root may have any number of processes"),
        false => cases.push((Resource::Nproc, 0, "Resource temporarily unavailable")),
    }
    for (resource, few, why) in cases {
        let pid = fixture.started();
        let before = limit(pid, resource, few);
        let why = format!("ERROR: cannot reload: cannot start a thread: {why}\n");
        fixture.reload().expect(1, FAILED, &why);
        before();
        fixture.reload().expect(0, RELOADED, "");
        fixture.stop().expect(0, STOPPED, "");
    }
}

/// Also if there is enough for the thread, and not for what it does.
#[test]
fn a_shortage_of_memory_ends_nobody() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes");
    let pid = fixture.started();
    let size = status_field(pid, "VmSize");
    let size: u64 = size.trim_end_matches(" kB").parse().unwrap();
    let mut failures = 0;
    // In KiB.
    for more in (0..8_000).step_by(100) {
        let before = limit(pid, Resource::As, (size + more) << 10);
        let output = fixture.reload();
        before();
        if output.code() == Some(0) {
            break;
        }
        failures += 1;
        assert_eq!((output.code(), &*output.stdout), (Some(1), FAILED), "{more}: {output:?}");
        assert!(output.stderr.starts_with("ERROR: cannot reload: "), "{more}: {output:?}");
        assert!(is_alive(pid), "{more}");
    }
    assert!(failures > 0);
    fixture.reload().expect(0, RELOADED, "");
    fixture.stop().expect(0, STOPPED, "");
}

/// Gives a process less; what it had before, when it is called.
fn limit(pid: Pid, resource: Resource, few: u64) -> impl FnOnce() {
    let pid = rustix::process::Pid::from_raw(pid);
    let few = Rlimit { current: Some(few), maximum: getrlimit(resource).maximum };
    let before = prlimit(pid, resource, few).unwrap();
    move || {
        prlimit(pid, resource, before).unwrap();
    }
}
