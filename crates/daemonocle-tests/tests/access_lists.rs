//! Access control lists, acl(5), that let somebody write where the mode alone looks harmless: it shows what the
//! list grants at most, in the place of what the group may do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use daemonocle_tests::{Sandbox, is_alive, skip, skip_unless_root, skip_unless_there_is};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::process::geteuid;

const FAILED: &str = "Starting example ... FAILED\n";
/// Somebody whom nobody has to do with.
const STRANGER: u32 = 3_900_003;
const NOBODY: u32 = u32::MAX;

/// Tag and permissions of an entry, and whom it names.
type Entry = (u16, u16, u32);
const USER: u16 = 2;
const GROUP: u16 = 8;
const READ_WRITE_SEARCH: u16 = 7;
const READ_SEARCH: u16 = 5;

/// A list in which `entry` names somebody, in the form of `linux/posix_acl_xattr.h`, for the attribute
/// `system.posix_acl_access`, or `…_default`. `false`: there are none here.
fn grant(path: &Path, attribute: &str, entry: Entry, group: u16, name: &str) -> bool {
    let (owner, named, mask) = ((1, 7, NOBODY), entry, (16, 7, NOBODY));
    let entries = match entry.0 {
        USER => [owner, named, (4, group, NOBODY), mask, (32, READ_SEARCH, NOBODY)],
        _ => [owner, (4, group, NOBODY), named, mask, (32, READ_SEARCH, NOBODY)],
    };
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, number) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(number.to_le_bytes());
    }
    match setxattr(path, format!("system.posix_acl_{attribute}"), &bytes, XattrFlags::empty()) {
        Err(rustix::io::Errno::OPNOTSUPP) => skip(name, "no access control lists"),
        result => result.unwrap(),
    }
    getxattr(path, "system.posix_acl_access", &mut [0; 64][..]).is_ok() || attribute == "default"
}

#[test]
fn a_directory_that_a_list_lets_another_user_write() {
    let name = "a_directory_that_a_list_lets_another_user_write";
    for (tag, who) in [(USER, "user"), (GROUP, "group")] {
        let sandbox = Sandbox::new();
        let dir = sandbox.make_dir("shared", 0o755);
        let path = sandbox.make_dir("shared/own", 0o755).join("example.pid");
        if !grant(&dir, "access", (tag, READ_WRITE_SEARCH, STRANGER), READ_SEARCH, name) {
            return;
        }
        let fixture = sandbox.fixture("ready").set("pid_file", &path);
        let text = format!("ERROR: PID file {path:?}: directory {dir:?}: {who} {STRANGER}");
        let parts = [&text, " may write there (mode 0775) and could replace the file\n"];
        fixture.start().expect_error(1, FAILED, &parts);
        for output in [fixture.stop(), fixture.status(), fixture.restart()] {
            output.expect_error(1, "", &parts);
        }
        assert!(!path.exists());
        sandbox.expect_nobody();
    }
}

#[test]
fn a_file_that_a_list_lets_another_user_write() {
    let name = "a_file_that_a_list_lets_another_user_write";
    let sandbox = Sandbox::new();
    let path = sandbox.write("example.pid", "");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    if !grant(&path, "access", (USER, READ_WRITE_SEARCH, STRANGER), READ_SEARCH, name) {
        return;
    }
    let text = format!(
        "ERROR: will not use PID file {path:?}: user {STRANGER}, named in its access control list, may \
         write to it"
    );
    let fixture = sandbox.fixture("ready");
    fixture.start().expect_error(1, FAILED, &[&text]);
    for output in [fixture.stop(), fixture.status()] {
        output.expect_error(1, "", &[&text]);
    }
    assert!(path.exists());
    sandbox.expect_nobody();
}

/// What the mode calls the group's may be nobody's, or that of one of us.
#[test]
fn a_list_that_lets_nobody_else_write() {
    let name = "a_list_that_lets_nobody_else_write";
    let us = geteuid().as_raw();
    for entry in [(USER, READ_SEARCH, STRANGER), (USER, 7, us), (USER, 7, 0), (GROUP, 7, 0)] {
        let sandbox = Sandbox::new();
        let dir = sandbox.make_dir("dir", 0o755);
        let path = dir.join("example.pid");
        fs::write(&path, "").unwrap();
        for path in [&dir, &path] {
            // As root, of a group of strangers that may only read.
            let _ = chown(path, None, Some(STRANGER));
            if !grant(path, "access", entry, READ_SEARCH, name) {
                return;
            }
        }
        let fixture = sandbox.fixture("ready").set("pid_file", &path);
        assert!(is_alive(fixture.started()), "{entry:?}");
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
    }
}

/// The daemon's own user is one of us, in a list too.
#[test]
fn a_list_that_lets_the_daemons_user_write() {
    let name = "a_list_that_lets_the_daemons_user_write";
    if skip_unless_root(name) {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    let path = dir.join("example.pid");
    if !grant(&dir, "access", (USER, READ_WRITE_SEARCH, STRANGER), READ_SEARCH, name) {
        return;
    }
    let user = STRANGER.to_string();
    let fixture = sandbox.fixture("ready").set("pid_file", &path).unset("hook_log");
    fixture.set("user", &user).set("group", &user).started();
    // He may delete it, then.
    assert!(path.exists());
}

/// Without /proc a directory has to be opened to be asked.
#[test]
fn a_list_is_seen_without_proc() {
    let name = "a_list_is_seen_without_proc";
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o775);
    let path = dir.join("example.pid");
    let fixture = sandbox.fixture("ready").set("pid_file", &path);
    let status = || {
        let script = "mount -t tmpfs none /proc && exec \"$@\"";
        fixture.run(&["status"]).through(script).under(&["unshare", "--mount"]).finish()
    };
    let output = status();
    if output.stderr.contains("unshare: ") || output.stderr.contains("mount: ") {
        return skip(name, "no mount namespaces");
    }
    output.expect(1, "example -- not running\n", "");
    if grant(&dir, "access", (USER, READ_WRITE_SEARCH, STRANGER), READ_SEARCH, name) {
        status().expect_error(1, "", &[&format!("{dir:?}: user {STRANGER}")]);
    }
}

/// What is made below a directory inherits its default list: never more than the modes say that it
/// is made with.
#[test]
fn a_list_that_is_inherited() {
    let name = "a_list_that_is_inherited";
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    let path = dir.join("new/example.pid");
    let made = path.parent().unwrap();
    if !grant(&dir, "default", (USER, READ_WRITE_SEARCH, STRANGER), READ_SEARCH, name) {
        return;
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let fixture = sandbox.fixture("ready").set("pid_file", &path);
    fixture.started();
    assert_eq!((mode(made), mode(&path)), (0o755, 0o644));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    fs::remove_dir(made).unwrap();
    // With a umask that leaves the group its rights, the list means what it says.
    let text = format!("ERROR: PID file {path:?}: directory {made:?}: user {STRANGER}");
    fixture.set("umask", "002").start().expect_error(1, FAILED, &[&text]);
    sandbox.expect_nobody();
}
