//! /proc shows an ordinary user no processes but his own (`hidepid`, proc(5)): what he is told of
//! somebody else's daemon is true all the same.

use std::fs;
use std::os::unix::fs::chown;

use daemonocle_tests::{
    Fixture, Output, Sandbox, is_alive, skip, skip_unless_root, skip_unless_there_is,
};

/// Two users of whom nobody else has processes.
const OWNER: u32 = 3_900_001;
const ASKER: &str = "3900002";

/// Runs a command line as a user to whom /proc hides the others; `None`: that cannot be had here.
fn hidden(fixture: &Fixture<'_>, arguments: &[&str], name: &str) -> Option<Output> {
    let identity = format!("--reuid {ASKER} --regid {ASKER} --clear-groups");
    let script = format!("mount -t proc -o hidepid=2 none /proc && setpriv {identity} \"$@\"");
    let run = fixture.run(arguments).through(&script).under(&["unshare", "--mount"]);
    let output = run.finish();
    if output.stderr.contains("unshare: ") || output.stderr.contains("mount: ") {
        skip(name, "no mount namespaces");
        return None;
    }
    Some(output)
}

fn is_skipped(name: &str) -> bool {
    skip_unless_root(name)
        || skip_unless_there_is("unshare", name)
        || skip_unless_there_is("setpriv", name)
}

/// A daemon of root's, and one that root has started for another user.
fn daemons(sandbox: &Sandbox) -> [Fixture<'_>; 2] {
    let dir = sandbox.make_dir("other", 0o755);
    chown(&dir, Some(OWNER), Some(OWNER)).unwrap();
    let of_root = sandbox.fixture("ready").for_everybody();
    let owner = OWNER.to_string();
    let of_other = of_root.clone().set("user", &owner).set("group", &owner).unset("hook_log");
    [of_root, of_other.set("pid_file", dir.join("example.pid"))]
}

#[test]
fn a_daemon_that_is_hidden_is_not_said_to_be_gone() {
    let name = "a_daemon_that_is_hidden_is_not_said_to_be_gone";
    if is_skipped(name) {
        return;
    }
    let sandbox = Sandbox::new();
    for fixture in daemons(&sandbox) {
        let pid = fixture.started();
        let path = fixture.pid_file();
        let text = format!(
            "ERROR: cannot examine process {pid} of PID file {path:?}: it is running, but /proc \
             hides it\n"
        );
        for arguments in [&["status"][..], &["status", "--json"]] {
            let Some(output) = hidden(&fixture, arguments, name) else {
                return;
            };
            output.expect(1, "", &text);
        }
        assert!(is_alive(pid));
    }
}

#[test]
fn without_pidfds_neither() {
    let name = "without_pidfds_neither";
    if is_skipped(name) {
        return;
    }
    let sandbox = Sandbox::new();
    for fixture in daemons(&sandbox) {
        fixture.started();
        let Some(output) = hidden(&fixture.set("before", "no-pidfds"), &["status"], name) else {
            return;
        };
        output.expect_error(1, "", &["ERROR: cannot examine process", "/proc hides it\n"]);
    }
}

#[test]
fn it_cannot_be_stopped_by_who_must_not() {
    let name = "it_cannot_be_stopped_by_who_must_not";
    if is_skipped(name) {
        return;
    }
    let sandbox = Sandbox::new();
    for fixture in daemons(&sandbox) {
        let pid = fixture.started();
        let Some(output) = hidden(&fixture, &["stop"], name) else {
            return;
        };
        let reason = format!("ERROR: cannot signal example (PID {pid})");
        let parts = [&*reason, "Operation not permitted"];
        output.expect_error(1, "Stopping example ... FAILED\n", &parts);
        assert!(is_alive(pid));
        assert_eq!(fixture.pid(), Some(pid));
    }
}

#[test]
fn a_daemon_that_is_gone_is_gone() {
    let name = "a_daemon_that_is_gone_is_gone";
    if is_skipped(name) {
        return;
    }
    let sandbox = Sandbox::new();
    for fixture in daemons(&sandbox) {
        let pid = fixture.started();
        sandbox.kill(pid);
        let text = fs::read_to_string(fixture.pid_file()).unwrap();
        for before in ["", "no-pidfds"] {
            let fixture = fixture.clone().set("before", before);
            let Some(output) = hidden(&fixture, &["status"], name) else {
                return;
            };
            output.expect(1, "example -- not running\n", "");
        }
        assert_eq!(fs::read_to_string(fixture.pid_file()).unwrap(), text);
    }
}
