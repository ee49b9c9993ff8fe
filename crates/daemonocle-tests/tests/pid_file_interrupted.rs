//! The PID file is replaced while an action is at it, at every moment between two looks: something odd that
//! has taken its place is not waited for, not written to and not emptied, and there is no second daemon.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use daemonocle_tests::{
    Fixture, Output, Pid, Sandbox, eventually, skip, skip_unless_there_is, stat,
};
use rustix::process::Signal;

const ACTIONS: [&str; 5] = ["start", "status", "stop", "restart", "reload"];

/// What comes in the place of the PID file.
const ODDITIES: [&str; 3] = ["FIFO", "symbolic link", "hard link"];

/// What nobody must change. It could well be the text of an old PID file.
const PRECIOUS: &str = "4194304\n";

/// What the action was doing when it was stopped.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The system call that it had just made on the PID file, ...
    call: &'static str,
    /// ... for which time.
    when: u32,
}

/// Runs an action and does something at this moment of it. `None`: it has ended before.
fn interrupted(
    fixture: &Fixture<'_>,
    action: &str,
    moment: Moment,
    act: impl FnOnce(),
) -> Option<Output> {
    let sandbox = fixture.sandbox();
    let log = sandbox.path("calls").display().to_string();
    let inject = format!("inject={}:signal=SIGSTOP:when={}", moment.call, moment.when);
    let words = ["strace", "-o", &log, "-P", "example.pid", "-e", "trace=newfstatat,openat", "-e"];
    let mut strace = fixture.run(&[action]).under(&[&words[..], &[&inject]].concat()).spawn();
    let is_stopped = || sandbox.read("calls").contains("stopped by SIGSTOP");
    eventually("it is stopped, or ends", || is_stopped() || !strace.is_running());
    let is_its_child = |pid: &Pid| stat(*pid).is_some_and(|it| it.parent == strace.pid());
    let stopped = sandbox.survivors().into_iter().find(is_its_child).filter(|_| is_stopped())?;
    act();
    sandbox.signal(stopped, Signal::CONT);
    Some(strace.finish())
}

/// Puts something in the place of the PID file, in one step.
fn replace(sandbox: &Sandbox, oddity: &str) {
    let new = sandbox.path("new");
    match oddity {
        "FIFO" => drop(sandbox.make_fifo("new")),
        "symbolic link" => symlink(sandbox.path("precious"), &new).unwrap(),
        _ => fs::hard_link(sandbox.path("precious"), &new).unwrap(),
    }
    fs::rename(&new, sandbox.path("example.pid")).unwrap();
}

/// The facts of a file that an action could change.
fn facts(sandbox: &Sandbox) -> (String, u32, u64) {
    let meta = fs::metadata(sandbox.path("precious")).unwrap();
    (sandbox.read("precious"), meta.mode() & 0o7777, meta.ino())
}

/// Tries one action at one moment, with a daemon or with the file of one that is gone. `false`: that moment
/// does not come.
fn attempt(action: &str, moment: Moment, oddity: &str, is_running: bool) -> bool {
    let case = format!("{action}, {moment:?}, {oddity}, {is_running}");
    let sandbox = Sandbox::new();
    let precious = sandbox.write("precious", PRECIOUS);
    fs::set_permissions(&precious, Permissions::from_mode(0o640)).unwrap();
    let before = facts(&sandbox);
    let fixture = sandbox.fixture("ready").set("on_hup", "yes");
    let daemon = is_running.then(|| fixture.started());
    if !is_running {
        sandbox.write("example.pid", PRECIOUS);
    }
    let output = interrupted(&fixture, action, moment, || replace(&sandbox, oddity));
    let Some(output) = output else {
        return false;
    };
    assert_eq!(facts(&sandbox), before, "{case}: {output:?}");
    let survivors = sandbox.survivors();
    let one = daemon.into_iter().collect::<Vec<_>>();
    match (action, output.code()) {
        // What it has found before, or did without.
        ("start" | "restart" | "reload", Some(0)) => {
            assert_eq!(survivors.len(), 1, "{case}: {output:?}");
            assert_eq!(
                output.stderr.contains("already running"),
                survivors == one,
                "{case}: {output:?}"
            );
        }
        ("stop", Some(0)) => assert!(survivors.is_empty(), "{case}: {output:?}"),
        // The old one is gone, and there can be no new one.
        ("restart", Some(1)) => {
            assert!(survivors.is_empty() || survivors == one, "{case}: {output:?}")
        }
        // One that could not tell in time that it has reloaded is asked once more.
        ("reload", Some(1)) => assert_eq!(survivors.len(), one.len(), "{case}: {output:?}"),
        (_, Some(0 | 1)) => assert_eq!(survivors, one, "{case}: {output:?}"),
        _ => panic!("{case}: {output:?}"),
    }
    // It is opened now.
    if let Moment { call: "newfstatat", when: 1 } = moment {
        let why = match oddity {
            "symbolic link" => "ERROR: cannot open PID file",
            "FIFO" => "it is a FIFO, not a regular file",
            _ => "it is a hard link, one of 2 names of the same file",
        };
        assert_eq!(output.code(), Some(1), "{case}: {output:?}");
        assert!(output.stderr.contains(why), "{case}: {output:?}");
        assert_eq!(survivors, one, "{case}: {output:?}");
    }
    true
}

/// All actions, at all moments.
fn sweep(name: &str, call: &'static str, is_running: bool) {
    /// More than any action has.
    const MOST: u32 = 20;
    if skip_unless_there_is("strace", name) {
        return;
    }
    let probe =
        Sandbox::new().fixture("ready").watch(&["strace", "-o", "/dev/null", "true"]).finish();
    if probe.code() != Some(0) {
        return skip(name, &format!("strace cannot trace: {}", probe.stderr.trim()));
    }
    for action in ACTIONS {
        for oddity in ODDITIES {
            let met = (1..MOST)
                .take_while(|&when| attempt(action, Moment { call, when }, oddity, is_running))
                .count();
            assert!((1..MOST as usize - 1).contains(&met), "{action} {oddity}: {met} moments");
        }
    }
}

#[test]
fn between_a_look_and_the_next_step_with_a_daemon() {
    sweep("between_a_look_and_the_next_step_with_a_daemon", "newfstatat", true);
}

#[test]
fn between_a_look_and_the_next_step_without_a_daemon() {
    sweep("between_a_look_and_the_next_step_without_a_daemon", "newfstatat", false);
}

#[test]
fn after_it_was_opened_with_a_daemon() {
    sweep("after_it_was_opened_with_a_daemon", "openat", true);
}

#[test]
fn after_it_was_opened_without_a_daemon() {
    sweep("after_it_was_opened_without_a_daemon", "openat", false);
}
