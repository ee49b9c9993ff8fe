//! PID files that others own or may write to, and directories of that kind: refused by every action, with or
//! without a daemon; and what an ordinary user can do with root's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use daemonocle_tests::{Fixture, NOT_START, Sandbox, Stranger, is_alive, skip_unless_root};

const FAILED: &str = "Starting example ... FAILED\n";
const STOPPED: &str = "Stopping example ... OK\n";
const NOT_RUNNING: &str = "WARNING: example is not running\n";

/// The user who calls, and one who is nobody to him.
const HIM: u32 = 12345;
const OTHER: u32 = 12346;

fn daemon(sandbox: &Sandbox) -> Fixture<'_> {
    sandbox.fixture("ready").unset("hook_log").set("on_hup", "yes")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Makes a PID file that names the stranger, with this mode, and gives it to a user.
fn file_that_names(stranger: &Stranger, path: &Path, mode: u32, owner: Option<u32>) {
    fs::write(path, format!("{}\n", stranger.pid())).unwrap();
    set_mode(path, mode);
    chown(path, owner, owner).unwrap();
}

/// Every action refuses the file, and says why; the file goes on naming the stranger, who goes on.
#[track_caller]
fn refused(fixture: &Fixture<'_>, mut stranger: Stranger, why: &str) {
    let text = format!("PID file {:?}", fixture.pid_file());
    fixture.expect_refused(&["ERROR: ", &text, why]);
    let text = fs::read_to_string(fixture.pid_file()).unwrap();
    assert_eq!(text, format!("{}\n", stranger.pid()));
    assert!(stranger.is_unharmed());
    fixture.sandbox().expect_nobody();
}

#[test]
fn a_file_that_every_user_may_write() {
    let (sandbox, stranger) = (Sandbox::new(), Stranger::new());
    let fixture = daemon(&sandbox);
    file_that_names(&stranger, &fixture.pid_file(), 0o666, None);
    refused(&fixture, stranger, "every user may write to it");
}

#[test]
fn a_file_of_another_user() {
    if skip_unless_root("a_file_of_another_user") {
        return;
    }
    // For root, and for an ordinary user, who may read it.
    for caller in [None, Some(HIM)] {
        let (sandbox, stranger) = (Sandbox::new(), Stranger::new());
        let fixture = daemon(&sandbox);
        let fixture = match caller {
            Some(user) => fixture.by_user(user),
            None => fixture,
        };
        file_that_names(&stranger, &fixture.pid_file(), 0o644, Some(OTHER));
        let why = match caller {
            // He could not write to it anyway.
            Some(_) => "",
            None => "it belongs to user 12346",
        };
        refused(&fixture, stranger, why);
        for arguments in NOT_START {
            let output = fixture.run(arguments).finish();
            output.expect_error(1, "", &["will not use", "it belongs to user 12346"]);
        }
    }
}

/// Nor if nobody but he may read it.
#[test]
fn a_private_file_of_another_user() {
    if skip_unless_root("a_private_file_of_another_user") {
        return;
    }
    let (sandbox, stranger) = (Sandbox::new(), Stranger::new());
    let fixture = daemon(&sandbox).by_user(HIM);
    file_that_names(&stranger, &fixture.pid_file(), 0o600, Some(OTHER));
    refused(&fixture, stranger, "Permission denied");
}

#[test]
fn a_directory_that_every_user_may_write() {
    let (sandbox, stranger) = (Sandbox::new(), Stranger::new());
    let dir = sandbox.make_dir("dir", 0o777);
    let fixture = daemon(&sandbox).set("pid_file", dir.join("example.pid"));
    file_that_names(&stranger, &fixture.pid_file(), 0o644, None);
    refused(&fixture, stranger, "every user may write there (mode 0777)");
}

#[test]
fn a_directory_of_another_user() {
    if skip_unless_root("a_directory_of_another_user") {
        return;
    }
    for (caller, owner) in [(0, OTHER), (HIM, OTHER)] {
        let (sandbox, stranger) = (Sandbox::new(), Stranger::new());
        let dir = sandbox.make_dir("dir", 0o755);
        chown(&dir, Some(owner), None).unwrap();
        let fixture = daemon(&sandbox).set("pid_file", dir.join("example.pid")).by_user(caller);
        file_that_names(&stranger, &fixture.pid_file(), 0o644, Some(caller));
        refused(&fixture, stranger, "it belongs to user 12346, who could replace the file");
    }
}

/// A file that was all right when the daemon was started: nobody can tell any more that it is his.
#[test]
fn a_daemon_whose_file_or_directory_everybody_may_write_since() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    let fixture = daemon(&sandbox).set("pid_file", dir.join("example.pid"));
    let pid = fixture.started();
    for (path, open, shut) in [(fixture.pid_file(), 0o666, 0o644), (dir, 0o777, 0o755)] {
        set_mode(&path, open);
        fixture.expect_refused(&["ERROR: ", "every user may write "]);
        set_mode(&path, shut);
        assert!(is_alive(pid));
        assert_eq!(sandbox.survivors(), [pid]);
    }
    fixture.stop().expect(0, STOPPED, "");
}

/// Nobody gets a daemon by giving its file away.
#[test]
fn a_daemon_whose_file_is_another_users_since() {
    if skip_unless_root("a_daemon_whose_file_is_another_users_since") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let pid = fixture.started();
    chown(fixture.pid_file(), Some(OTHER), None).unwrap();
    fixture.expect_refused(&["ERROR: will not use", "it belongs to user 12346"]);
    assert_eq!(sandbox.survivors(), [pid]);
    chown(fixture.pid_file(), Some(0), None).unwrap();
    fixture.stop().expect(0, STOPPED, "");
}

/// What is root's is as good as his own to an ordinary user, but not his to change: even if it names a
/// process that he may signal.
#[test]
fn a_stale_file_of_root_for_an_ordinary_user() {
    if skip_unless_root("a_stale_file_of_root_for_an_ordinary_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox).by_user(HIM);
    let mut his = fixture.watch(&["sleep", "600"]).as_user(HIM, HIM).spawn();
    let text = sandbox.write("example.pid", format!("{}\n", his.pid()));
    set_mode(&text, 0o644);
    let before = fs::metadata(&text).unwrap();
    fixture.status().expect(1, "example -- not running\n", "");
    for arguments in [&["stop"][..], &["stop", "--force", "--timeout", "0"]] {
        let left = ["which has no lock on it; left as it is\n", NOT_RUNNING];
        fixture.run(arguments).finish().expect_error(0, "", &left);
    }
    fixture.reload().expect(1, "", NOT_RUNNING);
    for action in ["start", "restart"] {
        fixture.run(&[action]).finish().expect_error(1, FAILED, &["Permission denied"]);
    }
    let after = fs::metadata(&text).unwrap();
    let facts = |meta: &fs::Metadata| (meta.ino(), meta.ctime(), meta.ctime_nsec());
    assert_eq!(facts(&after), facts(&before));
    assert!(his.is_running());
    assert_eq!(sandbox.survivors(), [his.pid()]);
}

/// He sees it, and that is all.
#[test]
fn a_daemon_of_root_for_an_ordinary_user() {
    if skip_unless_root("a_daemon_of_root_for_an_ordinary_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let pid = fixture.started();
    let his = fixture.clone().by_user(HIM);
    let status = his.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    his.start().expect(0, "", &format!("WARNING: example already running with PID {pid}\n"));
    let why = format!("cannot signal example (PID {pid})");
    for arguments in
        [&["stop"][..], &["stop", "--force", "--timeout", "0"], &["restart"], &["reload"]]
    {
        let output = his.run(arguments).finish();
        assert_eq!(output.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains(&why), "{output:?}");
    }
    assert_eq!(sandbox.survivors(), [pid]);
    fixture.stop().expect(0, STOPPED, "");
}
