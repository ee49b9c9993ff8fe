//! Who can read a PID file, and lock it for reading: he is in nobody's way.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;

use daemonocle_tests::{
    LIFE, Lock, PROGRAMS, STARTUP, STAYING, Sandbox, eventually, is_alive, places, skip,
    skip_unless_there_is,
};
use rustix::process::Signal;

const FAILED: &str = "Starting example ... FAILED\n";

/// Waits, in a thread, for a lock that a reader may have, and keeps it.
fn read_lock(path: &Path, byte: i64) {
    let reader = File::open(path).unwrap();
    thread::spawn(move || {
        Lock::Read.take(&reader, byte..byte + 1);
        loop {
            thread::park();
        }
    });
}

#[test]
fn a_reader_cannot_make_a_daemon_that_ends_look_as_if_it_stayed() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("hook", "hang").set("stop", "0.2");
    let pid = fixture.started();
    read_lock(&fixture.pid_file(), STAYING);
    sandbox.signal(pid, Signal::TERM);
    eventually("the hook runs", || !fixture.hook_log().is_empty());
    let text = format!("ERROR: timed out while waiting for process (PID {pid}), which is ending\n");
    fixture.start().expect(1, FAILED, &text);
}

#[test]
fn a_reader_who_waits_for_a_start_does_not_keep_others_waiting() {
    let sandbox = Sandbox::new();
    let slow = sandbox.fixture("sleep");
    let first = slow.run(&["start"]).spawn();
    eventually("the daemon has been made", || slow.pid().is_some());
    read_lock(&slow.pid_file(), STARTUP);
    // Longer than any test may take: what counts is that it ends.
    let second = sandbox.fixture("ready").set("ready", "3600").run(&["start"]).finish();
    first.finish().expect(0, "Starting example ... OK\n", "");
    let told = format!("WARNING: example already running with PID {}\n", slow.pid().unwrap());
    second.expect(0, "", &told);
}

/// Whoever may not read a file must not do so because it has become the PID file.
#[test]
fn what_was_in_the_file_is_gone_before_everybody_may_read_it() {
    let name = "what_was_in_the_file_is_gone_before_everybody_may_read_it";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let file = sandbox.write("example.pid", "s3cret password");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let trace = sandbox.path("trace");
    let calls = "trace=fchmod,pwrite64,ftruncate";
    let strace = ["strace", "-f", "-o", trace.to_str().unwrap(), "-e", calls];
    let trial = fixture.watch(&[&strace[..], &["true"]].concat()).finish();
    if trial.code() != Some(0) {
        return skip(name, "strace cannot trace");
    }
    let start = fixture.run(&["start"]).under(&strace).spawn();
    start.says("Starting example ... OK\n");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert_eq!(start.finish().code(), Some(0));
    let trace = sandbox.read("trace");
    let at = |call: &str| trace.find(call).unwrap_or_else(|| panic!("no {call}: {trace}"));
    assert!(at("pwrite64(") < at("fchmod(") && at("ftruncate(") < at("fchmod("), "{trace}");
}

/// While others may read the file: who waits there with a lock for reading gets it as soon as the daemon lets
/// go of its own for its successor.
#[test]
fn a_reader_who_waits_for_a_reload() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite").set("on_hup", "yes");
    let mut old = fixture.started();
    let bytes =
        [(LIFE, true), (STAYING, true), (STARTUP, false), (places(&fixture.pid_file())[0], true)];
    for (byte, is_awaited) in bytes {
        let path = fixture.pid_file();
        let lock = move || {
            let file = File::open(path).unwrap();
            Lock::Read.take(&file, byte..byte + 1);
            file
        };
        let reader = std::thread::spawn(lock);
        let held = if is_awaited { None } else { Some(reader.join().unwrap()) };
        fixture.reload().expect(0, "Reloading example ... OK\n", "");
        let new = fixture.pid().unwrap();
        assert!(new != old && is_alive(new), "{byte}");
        let status = fixture.status();
        assert!(status.stdout.starts_with(&format!("example -- pid: {new}, ")), "{status:?}");
        let told = format!("WARNING: example already running with PID {new}\n");
        fixture.start().expect(0, "", &told);
        drop(held);
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        assert!(!is_alive(new), "{byte}");
        old = fixture.started();
    }
}

/// A reader could wait for the moment in which it is taken again.
#[test]
fn what_a_killed_daemon_has_left_is_not_used_again() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let reader = File::open(fixture.pid_file()).unwrap();
    sandbox.kill(pid);
    fixture.started();
    let [old, new] = [reader.metadata(), fs::metadata(fixture.pid_file())];
    assert_ne!(old.unwrap().ino(), new.unwrap().ino());
}

/// All that a reader could be in the way of is taken before there can be one.
#[test]
fn all_locks_are_taken_before_others_may_read_the_file() {
    let name = "all_locks_are_taken_before_others_may_read_the_file";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let reloads = STARTUP + 4;
    for (item, value, byte) in [("on_hup", "yes", reloads), ("exec", "sleep\n600", PROGRAMS)] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready").set(item, value);
        let log = sandbox.path("calls").display().to_string();
        let strace = ["strace", "-f", "-o", &log, "-e", "trace=fcntl,fchmod"];
        let start = fixture.run(&["start"]).under(&strace).spawn();
        eventually("it is over", || {
            start.stdout().contains("OK\n") || start.stderr().contains("strace: ")
        });
        if start.stderr().contains("strace: ") {
            return skip(name, &format!("strace cannot trace: {}", start.stderr().trim()));
        }
        let calls = sandbox.read("calls");
        let taken = calls.find(&format!("F_WRLCK, l_whence=SEEK_SET, l_start={byte},")).unwrap();
        assert!(taken < calls.find("fchmod(").unwrap(), "{calls}");
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        start.finish();
    }
}
