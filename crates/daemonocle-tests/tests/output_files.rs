//! Files that a daemon's output goes to: traps are refused, FIFOs waited for by nobody.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use daemonocle_tests::{Fixture, Sandbox, skip_unless_root};

const FAILED: &str = "Starting example ... FAILED\n";

/// Both streams refuse this file, and write nothing to it.
#[track_caller]
fn refused(fixture: &Fixture<'_>, path: &Path, why: &str) {
    let before = fs::read(path).unwrap();
    for item in ["stdout", "stderr"] {
        let text = format!("ERROR: cannot open output file {path:?}: {why}\n");
        fixture.clone().set(item, path).start().expect(1, FAILED, &text);
        fixture.sandbox().expect_nobody();
    }
    assert_eq!(fs::read(path).unwrap(), before);
}

#[track_caller]
fn accepted(fixture: &Fixture<'_>, path: &Path) {
    let fixture = fixture.clone().set("stdout", path);
    fixture.started();
    assert!(fs::read_to_string(path).unwrap().ends_with("out\n"));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}

const HARD_LINK: &str = "it is a hard link, in a directory where others may make files";

#[test]
fn a_hard_link_where_others_may_make_files() {
    let sandbox = Sandbox::new();
    let precious = sandbox.write("precious", "precious\n");
    let dir = sandbox.make_dir("dir", 0o777);
    let path = dir.join("out");
    fs::hard_link(&precious, &path).unwrap();
    let fixture = sandbox.fixture("print");
    for mode in [0o777, 0o1777] {
        fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        refused(&fixture, &path, HARD_LINK);
    }
    // Where only we can have put it, it is what we want.
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    accepted(&fixture, &path);
    assert_eq!(sandbox.read("precious"), "precious\nout\n");
}

#[test]
fn a_hard_link_where_another_group_or_user_may_make_files() {
    if skip_unless_root("a_hard_link_where_another_group_or_user_may_make_files") {
        return;
    }
    let sandbox = Sandbox::new();
    let precious = sandbox.write("precious", "precious\n");
    let dir = sandbox.make_dir("dir", 0o775);
    let path = dir.join("out");
    fs::hard_link(&precious, &path).unwrap();
    let fixture = sandbox.fixture("print");
    chown(&dir, None, Some(54321)).unwrap();
    refused(&fixture, &path, HARD_LINK);
    chown(&dir, Some(12345), Some(0)).unwrap();
    refused(&fixture, &path, HARD_LINK);
}

#[test]
fn a_file_of_another_user_where_he_may_make_files() {
    if skip_unless_root("a_file_of_another_user_where_he_may_make_files") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o777);
    let path = sandbox.write("dir/out", "his\n");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    chown(&path, Some(54321), None).unwrap();
    let why = "it belongs to user 54321, in a directory where he may make files";
    let fixture = sandbox.fixture("print").unset("hook_log");
    let of_a_user = fixture.clone().set("user", "12345").set("group", "12345");
    for fixture in [&fixture, &of_a_user] {
        refused(fixture, &path, why);
    }
    // In a directory of his own.
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    chown(&dir, Some(54321), None).unwrap();
    for fixture in [&fixture, &of_a_user] {
        refused(fixture, &path, why);
    }
    // Where only root can have made it, it is meant to be there.
    chown(&dir, Some(0), None).unwrap();
    for fixture in [&fixture, &of_a_user] {
        accepted(fixture, &path);
    }
}

#[test]
fn a_new_file_where_others_may_make_files() {
    let sandbox = Sandbox::new();
    let path = sandbox.make_dir("dir", 0o1777).join("out");
    let fixture = sandbox.fixture("print");
    accepted(&fixture, &path);
    accepted(&fixture, &path);
    assert_eq!(sandbox.read("dir/out"), "out\nout\n");
}

/// Opening it would wait for a reader, for ever perhaps.
#[test]
fn a_fifo_without_a_reader() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    for item in ["stdout", "stderr"] {
        let why = format!("ERROR: cannot open output file {fifo:?}: No such device or address\n");
        sandbox.fixture("print").set(item, &fifo).start().expect(1, FAILED, &why);
        sandbox.expect_nobody();
    }
}

#[test]
fn a_fifo_with_a_reader() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let mut options = OpenOptions::new();
    let mut reader = options.read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let fixture = sandbox.fixture("print").set("stdout", &fifo);
    let pid = fixture.started();
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"out\n");
    // A full one makes a writer wait, as he may expect: it is no longer to fail at once.
    let flags = fs::read_to_string(format!("/proc/{pid}/fdinfo/1")).unwrap();
    let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
    assert_eq!(flags & (libc::O_NONBLOCK | libc::O_ACCMODE), libc::O_WRONLY);
}

#[test]
fn the_pid_file() {
    let sandbox = Sandbox::new();
    for (item, what) in [("stdout", "output"), ("stderr", "error")] {
        let fixture = sandbox.fixture("ready");
        let path = fixture.pid_file();
        let text = format!("ERROR: standard {what} file {path:?} is the PID file\n");
        fixture.set(item, &path).start().expect(1, FAILED, &text);
        assert!(!path.exists());
    }
}
