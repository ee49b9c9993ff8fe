//! The action `reload`: asks the daemon to, and tells how it went.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use daemonocle_tests::{
    Sandbox, expect_one_left, is_alive, reloading_on_hup, skip_unless_root, skip_unless_there_is,
};

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const RELOADED: &str = "Reloading example ... OK\n";
const FAILED: &str = "Reloading example ... FAILED\n";

#[test]
fn it_returns_when_the_new_one_is_the_daemon() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox);
    let mut old = fixture.started();
    for _ in 0..5 {
        fixture.reload().expect(0, RELOADED, "");
        let new = fixture.pid().unwrap();
        assert_ne!(new, old);
        assert!(is_alive(new) && !is_alive(old));
        let warning = format!("WARNING: example already running with PID {new}\n");
        fixture.start().expect(0, "", &warning);
        old = new;
    }
    expect_one_left(&fixture);
    assert_eq!(fixture.hook_log(), "0|Shutting down for reload\n".repeat(5));
    fixture.stop().expect(0, STOPPED, "");
    sandbox.expect_nobody();
}

/// The reason of the new process, in its words and with its exit code, and the old one goes on.
#[test]
fn it_tells_why_not() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox).set("ready", "0.5");
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
        fixture.reload().expect(code, FAILED, &format!("ERROR: {text}\n"));
        assert_eq!(expect_one_left(&fixture), pid);
    }
    sandbox.write("plan", "");
    fixture.reload().expect(0, RELOADED, "");
}

#[test]
fn nobody_is_there() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox);
    fixture.reload().expect(1, "", "WARNING: example is not running\n");
    let pid = fixture.started();
    sandbox.kill(pid);
    fixture.reload().expect(1, "", "WARNING: example is not running\n");
}

/// The signal would end it.
#[test]
fn a_daemon_that_does_not_reload_is_not_asked_to() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox);
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
        fixture.reload().expect(1, "", &why);
        assert!(is_alive(pid));
        assert_eq!(other.pid(), Some(pid));
        other.stop().expect(0, STOPPED, "");
    }
    // And where the definition does not say so, there is no such action.
    let output = plain.reload();
    output.expect_error(2, "", &["unrecognized subcommand 'reload'"]);
}

/// It cannot be handed on, and nothing else is to be blamed for that.
#[test]
fn the_pid_file_is_gone() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox);
    let pid = fixture.started();
    fs::remove_file(fixture.pid_file()).unwrap();
    let why = format!(
        "ERROR: process {pid} cannot reload, since somebody has deleted or moved its PID file {}: restart \
         it\n",
        fixture.pid_file().display()
    );
    fixture.reload().expect(1, "", &why);
    fixture.restart().expect(0, &format!("{STOPPED}{OK}"), "");
}

#[test]
fn a_program_is_not_started_with_what_it_cannot_do() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox).set("exec", "sleep\n600");
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
    let fixture = reloading_on_hup(&sandbox);
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
    let fixture = reloading_on_hup(&sandbox);
    let first = fixture.started();
    for _ in 0..5 {
        let clients: Vec<_> = (0..8).map(|_| fixture.run(&["reload"]).spawn()).collect();
        for client in clients {
            client.finish().expect(0, RELOADED, "");
        }
    }
    assert_ne!(expect_one_left(&fixture), first);
}

#[test]
fn in_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = reloading_on_hup(&sandbox);
    let running = fixture.foreground();
    running.says(OK);
    let mut old = fixture.settled();
    for _ in 0..3 {
        fixture.reload().expect(0, RELOADED, "");
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
    let fixture = reloading_on_hup(&sandbox).for_everybody().set("user", "nobody");
    let fixture = fixture.set("out", dir.join("out")).set("hook_log", dir.join("hook.log"));
    fs::set_permissions(sandbox.path("fifo"), fs::Permissions::from_mode(0o666)).unwrap();
    let old = fixture.started();
    fixture.reload().expect(0, RELOADED, "");
    assert_ne!(fixture.pid(), Some(old));
    sandbox.write("plan", "exit");
    fixture.reload().expect(9, FAILED, "ERROR: Child exited immediately with exit code 9\n");

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
    let fixture = reloading_on_hup(&sandbox);
    fixture.run(&["start"]).under(&["unshare", "--net"]).finish().expect(0, OK, "");
    let old = fixture.pid().unwrap();
    fixture.reload().expect(0, RELOADED, "");
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
    let fixture = reloading_on_hup(&sandbox).set("stderr", sandbox.path("err"));
    let fixture = fixture.set("ready", "1.5").set("stop", "1");
    fixture.run(&["start"]).under(&["unshare", "--net"]).finish().expect(0, OK, "");
    let pid = fixture.pid().unwrap();
    sandbox.write("plan", "exit");
    let why = format!("ERROR: Timed out while waiting for example (PID {pid}) to reload\n");
    fixture.reload().expect(1, FAILED, &why);
    assert_eq!(sandbox.read("err"), "ERROR: Child exited immediately with exit code 9\n");
    assert_eq!(expect_one_left(&fixture), pid);
}
