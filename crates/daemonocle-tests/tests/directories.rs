//! Directories on the way to a daemon's files in which somebody else could lead it astray.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use daemonocle_tests::{Fixture, Sandbox, is_root, skip_unless_root, skip_unless_there_is};
use rustix::fs::{CWD, RenameFlags, renameat_with};

const OK: &str = "Starting example ... OK\n";
const FAILED: &str = "Starting example ... FAILED\n";

/// A user who is nobody else, and a group of the same number.
const HIM: u32 = 12345;

/// How often somebody tries to be faster than the library.
const ATTEMPTS: u32 = 20;

/// As /tmp is: nobody can put another file in the place of ours.
#[test]
fn a_sticky_directory_that_every_user_may_write() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o1777);
    sandbox.fixture("ready").set("pid_file", dir.join("example.pid")).started();
}

#[test]
fn a_directory_that_is_a_link_of_another_user() {
    if skip_unless_root("a_directory_that_is_a_link_of_another_user") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.make_dir("dir", 0o755);
    let link = sandbox.path("link");
    symlink("dir", &link).unwrap();
    let fixture = sandbox.fixture("ready").set("pid_file", link.join("example.pid"));
    fixture.started();
    fixture.stop();
    std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
    fixture.start().expect_error(1, FAILED, &["ERROR: ", "symbolic link of user 12345"]);
    sandbox.expect_nobody();
}

/// Makes a directory for a user, with a group of the same number.
#[track_caller]
fn dir_of(sandbox: &Sandbox, name: &str, user: u32, mode: u32) -> PathBuf {
    let dir = sandbox.make_dir(name, mode);
    chown(&dir, Some(user), Some(user)).unwrap();
    dir
}

/// A daemon of user `HIM`, started by root.
fn his(sandbox: &Sandbox) -> Fixture<'_> {
    let him = HIM.to_string();
    sandbox.fixture("print").unset("hook_log").set("user", &him).set("group", him)
}

#[test]
fn a_directory_that_another_group_may_write() {
    if skip_unless_root("a_directory_that_another_group_may_write") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o775);
    chown(&dir, None, Some(54321)).unwrap();
    // In it, and on the way.
    for path in [dir.join("example.pid"), dir.join("new/example.pid")] {
        let fixture = sandbox.fixture("ready").set("pid_file", &path);
        let why = format!(
            "ERROR: PID file {path:?}: directory {dir:?}: group 54321 may write there (mode 0775) \
             and could replace the file\n"
        );
        fixture.start().expect(1, FAILED, &why);
        if path.parent() == Some(&dir) {
            for output in [fixture.status(), fixture.stop(), fixture.restart()] {
                output.expect(1, "", &why);
            }
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
    sandbox.expect_nobody();
    // Nobody can put another file in its place.
    fs::set_permissions(&dir, Permissions::from_mode(0o1775)).unwrap();
    sandbox.fixture("ready").set("pid_file", dir.join("example.pid")).started();
}

#[test]
fn a_directory_that_our_own_group_may_write() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o775);
    sandbox.fixture("ready").set("pid_file", dir.join("example.pid")).started();
}

#[test]
fn a_directory_that_the_group_of_the_daemon_the_caller_or_root_may_write() {
    if skip_unless_root("a_directory_that_the_group_of_the_daemon_the_caller_or_root_may_write") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = dir_of(&sandbox, "dir", HIM, 0o775);
    let fixture = his(&sandbox).set("pid_file", dir.join("example.pid"));
    fixture.started();
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    // The caller's.
    chown(&dir, None, Some(54321)).unwrap();
    for (action, says) in [("start", OK), ("stop", "Stopping example ... OK\n")] {
        fixture.run(&[action]).as_user(0, 54321).finish().expect(0, says, "");
    }
    // Root's, for somebody else.
    chown(&dir, None, Some(0)).unwrap();
    let fixture = sandbox.fixture("ready").for_everybody().unset("hook_log");
    let run = fixture.set("pid_file", dir.join("example.pid")).run(&["start"]);
    run.as_user(HIM, HIM).finish().expect(0, OK, "");
}

/// All the ways that a path can lead through the symbolic link `link` to the directory `real`, and
/// what it is called in a message.
fn ways(link: &Path) -> [(&'static str, &'static str, PathBuf); 7] {
    [
        ("pid_file", "PID file", link.join("example.pid")),
        ("stdout", "standard output file", link.join("out")),
        ("stderr", "standard error file", link.join("err")),
        ("stdout", "standard output file", link.join("new/out")),
        ("work_dir", "working directory", link.into()),
        ("work_dir", "working directory", link.join("sub")),
        ("chroot", "chroot directory", link.into()),
    ]
}

#[test]
fn a_link_of_the_daemons_user_leads_root_nowhere() {
    if skip_unless_root("a_link_of_the_daemons_user_leads_root_nowhere") {
        return;
    }
    let sandbox = Sandbox::new();
    let real = dir_of(&sandbox, "real", HIM, 0o755);
    dir_of(&sandbox, "real/sub", HIM, 0o755);
    let link = sandbox.path("link");
    symlink(&real, &link).unwrap();
    lchown(&link, Some(HIM), Some(HIM)).unwrap();
    for (item, what, path) in ways(&link) {
        let fixture = his(&sandbox).set(item, &path);
        let why = format!("{link:?}: it is a symbolic link of user {HIM}\n");
        let why = match path == link {
            true => format!("ERROR: {what} {why}"),
            false => format!("ERROR: {what} {path:?}: {why}"),
        };
        fixture.start().expect(1, FAILED, &why);
        if item == "pid_file" || item == "chroot" {
            for output in [fixture.status(), fixture.stop()] {
                output.expect(1, "", &why);
            }
        }
    }
    // As the last component, too.
    let out = sandbox.path("out");
    symlink(real.join("out"), &out).unwrap();
    lchown(&out, Some(HIM), Some(HIM)).unwrap();
    let why = format!("ERROR: standard output file {out:?}: it is a symbolic link of user {HIM}\n");
    his(&sandbox).set("stdout", &out).start().expect(1, FAILED, &why);
    sandbox.expect_nobody();
    let left: Vec<_> = fs::read_dir(&real).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [real.join("sub")]);
}

#[test]
fn a_link_of_root_is_followed() {
    if skip_unless_root("a_link_of_root_is_followed") {
        return;
    }
    for (number, (item, ..)) in ways(Path::new("")).into_iter().enumerate() {
        let sandbox = Sandbox::new();
        let real = dir_of(&sandbox, "real", HIM, 0o755);
        dir_of(&sandbox, "real/sub", HIM, 0o755);
        let link = sandbox.path("link");
        symlink(&real, &link).unwrap();
        let (.., path) = &ways(&link)[number];
        let mut fixture = his(&sandbox).set(item, path);
        if item == "chroot" {
            fixture = fixture.set("pid_file", "example.pid");
        }
        fixture.start().expect(0, OK, "");
        let pid = real.join("example.pid");
        assert_eq!(pid.exists(), ["pid_file", "chroot"].contains(&item), "{item}");
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        // And for a caller who is somebody else.
        if item != "chroot" {
            let own = sandbox.fixture("print").unset("hook_log").for_everybody();
            let own = own.set("pid_file", real.join("example.pid")).set(item, path);
            own.run(&["start"]).as_user(HIM, HIM).finish().expect(0, OK, "");
            let stop = own.run(&["stop"]).as_user(HIM, HIM).finish();
            stop.expect(0, "Stopping example ... OK\n", "");
        }
    }
}

#[test]
fn a_link_of_the_caller_is_followed() {
    let sandbox = Sandbox::new();
    let (real, link) = (sandbox.make_dir("real", 0o755), sandbox.path("link"));
    sandbox.make_dir("real/sub", 0o755);
    symlink(&real, &link).unwrap();
    let mut run_as = None;
    if is_root() {
        run_as = Some(HIM);
        for dir in ["real", "real/sub"] {
            chown(sandbox.path(dir), Some(HIM), Some(HIM)).unwrap();
        }
        lchown(&link, Some(HIM), Some(HIM)).unwrap();
    }
    for (item, _, path) in ways(&link) {
        if item == "chroot" {
            continue;
        }
        let fixture = sandbox.fixture("print").unset("hook_log").for_everybody();
        let fixture = fixture.set("pid_file", real.join("example.pid")).set(item, path);
        for (action, says) in [("start", OK), ("stop", "Stopping example ... OK\n")] {
            let run = fixture.run(&[action]);
            let run = match run_as {
                Some(user) => run.as_user(user, user),
                None => run,
            };
            run.finish().expect(0, says, "");
        }
    }
}

/// What is made for a daemon in its own user's directory is made with his rights: root's could be
/// led elsewhere by a directory that he puts in its place.
#[test]
fn a_directory_in_one_of_the_daemons_user_is_made_with_his_rights() {
    if skip_unless_root("a_directory_in_one_of_the_daemons_user_is_made_with_his_rights") {
        return;
    }
    for item in ["pid_file", "stdout"] {
        let sandbox = Sandbox::new();
        let dir = dir_of(&sandbox, "his", HIM, 0o755);
        let fixture = his(&sandbox).set("umask", "027").set(item, dir.join("new/newer/file"));
        let run = fixture.run(&["start"]).through("umask 077; exec \"$@\"");
        run.finish().expect(0, OK, "");
        for name in ["new", "new/newer"] {
            let meta = dir.join(name).metadata().unwrap();
            let facts = (meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777);
            assert_eq!(facts, (HIM, HIM, 0o750), "{item}: {name}");
        }
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        // He has taken it from himself; root could write there.
        let dir = dir_of(&sandbox, "closed", HIM, 0o555);
        let fixture = fixture.set(item, dir.join("new/file"));
        let parts = ["ERROR: ", &format!("directory {:?}: Permission denied", dir.join("new"))];
        fixture.start().expect_error(1, FAILED, &parts);
        assert!(!dir.join("new").exists());
        sandbox.expect_nobody();
    }
}

/// He can rename what root has put into his directory, so that it is where the path leads.
#[test]
fn nothing_is_made_in_a_directory_of_roots_below() {
    if skip_unless_root("nothing_is_made_in_a_directory_of_roots_below") {
        return;
    }
    for item in ["pid_file", "stdout"] {
        let sandbox = Sandbox::new();
        dir_of(&sandbox, "his", HIM, 0o755);
        let dir = sandbox.make_dir("his/roots", 0o755);
        let fixture = his(&sandbox).set(item, dir.join("new/file"));
        let parts = ["ERROR: ", &format!("directory {:?}: Permission denied", dir.join("new"))];
        fixture.start().expect_error(1, FAILED, &parts);
        assert!(!dir.join("new").exists());
        sandbox.expect_nobody();
    }
}

/// Not even if one of the groups that the caller is in may write there.
#[test]
fn nothing_is_made_with_the_callers_groups() {
    let name = "nothing_is_made_with_the_callers_groups";
    if skip_unless_root(name) || skip_unless_there_is("setpriv", name) {
        return;
    }
    for (item, group) in [("pid_file", 0), ("stdout", 0), ("stdout", 54321)] {
        let sandbox = Sandbox::new();
        dir_of(&sandbox, "his", HIM, 0o755);
        let dir = sandbox.make_dir("his/roots", 0o775);
        chown(&dir, None, Some(group)).unwrap();
        let fixture = his(&sandbox).set(item, dir.join("new/file"));
        let run = fixture.run(&["start"]).under(&["setpriv", "--groups", "0,54321"]);
        let parts = ["ERROR: ", &format!("directory {:?}: Permission denied", dir.join("new"))];
        run.finish().expect_error(1, FAILED, &parts);
        assert!(!dir.join("new").exists());
        sandbox.expect_nobody();
    }
}

/// Not even its mode is set afterwards, which would take away the bit that it inherits.
#[test]
fn a_directory_in_somebody_elses_is_made_at_one_go() {
    if skip_unless_root("a_directory_in_somebody_elses_is_made_at_one_go") {
        return;
    }
    for user in [HIM, 0] {
        let sandbox = Sandbox::new();
        let dir = dir_of(&sandbox, "his", HIM, 0o2755);
        let id = user.to_string();
        let fixture = his(&sandbox).set("user", &id).set("group", id);
        fixture.set("stdout", dir.join("new/out")).started();
        let meta = dir.join("new").metadata().unwrap();
        let facts = (meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777);
        assert_eq!(facts, (user, HIM, 0o2755));
    }
}

/// He exchanges the directory that is being made for one of root's that lies beside it, in the hope
/// that this one is given to him or opened for him.
#[test]
fn an_exchange_while_a_directory_is_made_gains_nothing() {
    if skip_unless_root("an_exchange_while_a_directory_is_made_gains_nothing") {
        return;
    }
    for user in [HIM, 0] {
        let sandbox = Sandbox::new();
        let dir = dir_of(&sandbox, "his", HIM, 0o755);
        let (new, secret) = (dir.join("new"), sandbox.make_dir("his/secret", 0o700));
        let handle = File::open(&secret).unwrap();
        let fixture = his(&sandbox).set("stdout", new.join("out"));
        let id = user.to_string();
        let fixture = fixture.set("user", &id).set("group", id);
        let exchanges = thread::scope(|scope| {
            // Closed at the end, or by a panic.
            let (going_on, told) = mpsc::channel::<()>();
            let (new, secret) = (&new, &secret);
            let attacker = scope.spawn(move || {
                let mut exchanges = 0;
                while told.try_recv() == Err(TryRecvError::Empty) {
                    let exchange = || renameat_with(CWD, new, CWD, secret, RenameFlags::EXCHANGE);
                    if exchange().is_ok() {
                        exchanges += 1;
                        exchange().unwrap();
                        // Make room for the next attempt; the daemon may just be putting its file there.
                        while fs::remove_dir_all(new).is_err() {}
                    }
                }
                exchanges
            });
            for _ in 0..ATTEMPTS {
                fixture.start();
                fixture.stop();
            }
            drop(going_on);
            attacker.join().unwrap()
        });
        let meta = handle.metadata().unwrap();
        let facts = (meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777);
        assert_eq!(facts, (0, 0, 0o700), "after {exchanges} exchanges");
        assert!(exchanges > 0, "nothing has been tried");
    }
}
