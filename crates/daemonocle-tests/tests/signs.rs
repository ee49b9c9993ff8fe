//! Signs on directories, by which a start that meets no daemon need not read the list of all locks.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use daemonocle_tests::{
    Fixture, Lock, Pid, Sandbox, descriptors, eventually, is_alive, places, skip_unless_root,
    skip_unless_there_is,
};

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";

/// That a start finds the daemon although its PID file is gone, and that a stop ends it.
#[track_caller]
fn expect_found(fixture: &Fixture<'_>, pid: Pid) {
    let why = format!("already running with PID {pid}");
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &[&why]);
    fixture.stop().expect(0, STOPPED, "");
    assert!(!is_alive(pid));
}

/// It takes milliseconds on a machine that does nothing else.
#[test]
fn nobody_reads_the_list_in_vain() {
    let name = "nobody_reads_the_list_in_vain";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let calls = sandbox.path("calls");
    let strace = ["strace", "-qq", "-e", "trace=open,openat", "-o", calls.to_str().unwrap()];
    let reads_list = |arguments: &[&str]| {
        fixture.run(arguments).under(&strace).finish();
        let calls = sandbox.read("calls");
        assert!(calls.contains("example.pid") || calls.contains("\"/\""), "{calls}");
        calls.contains("/proc/locks")
    };
    for arguments in [&["status"][..], &["stop"], &["start"], &["status"], &["stop"], &["start"]] {
        assert!(!reads_list(arguments), "{arguments:?}");
    }
    fixture.stop().expect(0, STOPPED, "");
    // And that it would be seen.
    let root = File::open("/").unwrap();
    Lock::Read.take(&root, one(places(&fixture.pid_file())[1]));
    assert!(reads_list(&["status"]));
}

fn one(byte: i64) -> Range<i64> {
    byte..byte + 1
}

/// Anybody may put one up, who then makes others look more closely.
#[test]
fn a_strangers_sign_changes_nothing() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let [entry, path] = places(&fixture.pid_file());
    let (dir, root) = (File::open(sandbox.dir()).unwrap(), File::open("/").unwrap());
    Lock::Read.take(&dir, one(entry));
    Lock::Read.take(&root, one(path));
    fixture.status().expect(1, "example -- not running\n", "");
    let pid = fixture.started();
    fs::remove_file(fixture.pid_file()).unwrap();
    expect_found(&fixture, pid);
    let pid = fixture.started();
    fixture.stop().expect(0, STOPPED, "");
    assert!(!is_alive(pid));
}

#[test]
fn they_are_handed_on_in_a_reload() {
    let sandbox = Sandbox::new();
    sandbox.write("listen", "");
    let fixture = sandbox.fixture("serves").set("on_hup", "yes");
    let fixture = fixture.set("listen", sandbox.path("listen")).set("out", sandbox.path("out"));
    let old = fixture.started();
    for _ in 0..2 {
        fixture.reload().expect(0, "Reloading example ... OK\n", "");
    }
    eventually("the old one is gone", || !is_alive(old));
    let pid = fixture.pid().unwrap();
    fs::remove_file(fixture.pid_file()).unwrap();
    expect_found(&fixture, pid);
}

/// The one of the directory goes along with it, and tells of the daemon under another path.
#[test]
fn in_a_directory_that_was_moved() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.make_dir("a", 0o755), sandbox.path("b"));
    let fixture = sandbox.fixture("ready").set("pid_file", a.join("example.pid"));
    let pid = fixture.started();
    fs::remove_file(fixture.pid_file()).unwrap();
    fs::rename(a, &b).unwrap();
    expect_found(&fixture.set("pid_file", b.join("example.pid")), pid);
}

/// And the other one if there is another directory in its place.
#[test]
fn in_a_directory_that_was_replaced() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.make_dir("a", 0o755), sandbox.path("b"));
    let fixture = sandbox.fixture("ready").set("pid_file", a.join("example.pid"));
    let pid = fixture.started();
    fs::rename(&a, b).unwrap();
    sandbox.make_dir("a", 0o755);
    expect_found(&fixture, pid);
}

/// Who may not read a directory has no sign there, and everybody knows that.
#[test]
fn in_a_directory_that_the_daemon_may_not_read() {
    if skip_unless_root("in_a_directory_that_the_daemon_may_not_read") {
        return;
    }
    for mode in [0o300, 0o755] {
        unreadable(mode);
    }
}

fn unreadable(mode: u32) {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.make_dir("a", 0o300), sandbox.path("b"));
    std::os::unix::fs::chown(&a, Some(65533), Some(65533)).unwrap();
    let fixture = sandbox.fixture("ready").for_everybody().unset("hook_log");
    let fixture = fixture.set("pid_file", a.join("example.pid"));
    fixture.run(&["start"]).as_user(65533, 65533).finish().expect(0, OK, "");
    let pid = fixture.pid().unwrap();
    fs::remove_file(fixture.pid_file()).unwrap();
    fs::rename(a, &b).unwrap();
    // Nor does it help that everybody may by now.
    if mode != 0o300 {
        fs::set_permissions(&b, fs::Permissions::from_mode(mode)).unwrap();
    }
    let fixture = fixture.set("pid_file", b.join("example.pid")).set("user", "65533");
    expect_found(&fixture.set("group", "65533"), pid);
}

/// Nor does the daemon get by them what its user may not read.
#[test]
fn a_directory_that_only_root_may_read() {
    const O_PATH: u32 = 0o10_000_000;
    if skip_unless_root("a_directory_that_only_root_may_read") {
        return;
    }
    let sandbox = Sandbox::new();
    let secret = sandbox.make_dir("secret", 0o700);
    let fixture = sandbox.fixture("ready").for_everybody().unset("hook_log").set("user", "nobody");
    let fixture = fixture.set("pid_file", secret.join("example.pid"));
    let pid = fixture.started();
    let mut count = 0;
    for (number, target) in descriptors(pid) {
        if Path::new(&target) == secret {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            assert_ne!(u32::from_str_radix(flags.trim(), 8).unwrap() & O_PATH, 0, "{info}");
            count += 1;
        }
    }
    assert_eq!(count, 1);
    fs::remove_file(fixture.pid_file()).unwrap();
    expect_found(&fixture, pid);
}

/// A daemon in another root directory has no way out of there.
#[test]
fn a_daemon_in_a_chroot_directory_has_none_outside() {
    if skip_unless_root("a_daemon_in_a_chroot_directory_has_none_outside") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("chroot", sandbox.dir());
    let fixture = fixture.set("pid_file", "/example.pid").unset("hook_log");
    let file = sandbox.path("example.pid");
    fixture.start().expect(0, OK, "");
    let pid: Pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    for target in descriptors(pid).values().map(Path::new) {
        let is_outside = target.is_dir() && !target.starts_with(sandbox.dir());
        assert!(!is_outside, "{target:?}");
    }
    fs::remove_file(file).unwrap();
    expect_found(&fixture, pid);
}
