//! Directories that a start makes on the way to a daemon's files.

use std::fs;
use std::os::unix::fs::MetadataExt;

use daemonocle_tests::{
    Fixture, Pid, Sandbox, eventually, skip, skip_unless_root, skip_unless_there_is, stat,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";

/// A user who is nobody else, and a group of the same number.
const HIM: u32 = 12345;

/// A daemon of user `HIM`, started by root.
fn his(sandbox: &Sandbox) -> Fixture<'_> {
    let him = HIM.to_string();
    sandbox.fixture("print").unset("hook_log").set("user", &him).set("group", him)
}

/// Others shall be able to look into it, also when the start was killed.
#[test]
fn a_directory_of_ours_is_all_that_it_shall_be_at_once() {
    const NAME: &str = "a_directory_of_ours_is_all_that_it_shall_be_at_once";
    if skip_unless_there_is("strace", NAME) {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    let fixture = sandbox.fixture("ready").set("pid_file", dir.join("run/example.pid"));
    // When it has made one and gives its umask back.
    let strace = ["strace", "-o", "/dev/null", "--inject=umask:signal=KILL:when=2"];
    let output = fixture.run(&["start"]).under(&strace).finish();
    if output.stderr.contains("strace: ") {
        return skip(NAME, "strace cannot trace");
    }
    assert_eq!(output.signal(), Some(libc::SIGKILL), "{output:?}");
    assert_eq!(fs::metadata(dir.join("run")).unwrap().mode() & 0o7777, 0o755);
}

/// One that is left half made would be root's, and no daemon of another user could ever use it.
#[test]
fn a_directory_whose_making_fails_is_no_obstacle() {
    const NAME: &str = "a_directory_whose_making_fails_is_no_obstacle";
    if skip_unless_root(NAME) || skip_unless_there_is("strace", NAME) {
        return;
    }
    for fault in [
        "fchown:error=EIO",
        "fchown:signal=KILL:when=1",
        "fchmod:error=EROFS",
        "fchmod:signal=KILL:when=1",
    ] {
        let sandbox = Sandbox::new();
        let dir = sandbox.make_dir("dir", 0o755);
        let fixture = his(&sandbox).set("pid_file", dir.join("run/example.pid"));
        let strace = ["strace", "-o", "/dev/null", &format!("--inject={fault}")];
        let output = fixture.run(&["start"]).under(&strace).finish();
        if output.stderr.contains("strace: ") {
            skip(NAME, "strace cannot trace");
            return;
        }
        assert_ne!(output.code(), Some(0), "{fault}: {output:?}");
        assert!(!dir.join("run").exists(), "{fault}");
        if !fault.contains("KILL") {
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "{fault}");
        }
        fixture.started();
        let meta = fs::metadata(dir.join("run")).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (HIM, HIM, 0o755), "{fault}");
    }
}

/// Not every file system can rename without replacing, and not every seccomp filter knows the call.
#[test]
fn a_directory_where_nothing_can_be_renamed() {
    const NAME: &str = "a_directory_where_nothing_can_be_renamed";
    if skip_unless_root(NAME) || skip_unless_there_is("strace", NAME) {
        return;
    }
    for error in ["EINVAL", "ENOSYS", "EPERM", "EOPNOTSUPP"] {
        let sandbox = Sandbox::new();
        let dir = sandbox.make_dir("dir", 0o755);
        let fixture = his(&sandbox).set("pid_file", dir.join("run/example.pid"));
        let inject = format!("--inject=renameat2:error={error}");
        let strace = ["strace", "-o", "/dev/null", &inject];
        let output = fixture.run(&["start"]).under(&strace).finish();
        if output.stderr.contains("strace: ") {
            skip(NAME, "strace cannot trace");
            return;
        }
        output.expect(0, OK, "");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "{error}");
        assert_eq!(fs::metadata(dir.join("run")).unwrap().uid(), HIM, "{error}");
    }
}

/// Several who start at the same time may make the same directory.
#[test]
fn a_directory_that_another_start_has_made_meanwhile() {
    const NAME: &str = "a_directory_that_another_start_has_made_meanwhile";
    if skip_unless_there_is("strace", NAME) {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    let [first, second] =
        ["a.pid", "b.pid"].map(|name| his(&sandbox).set("pid_file", dir.join("run").join(name)));
    // Root's makes it for somebody else, under another name first; anybody else's right there.
    if skip_unless_root(NAME) {
        return;
    }
    let strace = ["strace", "-o", "/dev/null", "--inject=fchmod:signal=STOP:when=1"];
    let running = second.run(&["start"]).under(&strace).spawn();
    let is_making = || fs::read_dir(&dir).unwrap().count() == 1 && !dir.join("run").exists();
    let is_start = |pid: &Pid| stat(*pid).is_some_and(|it| it.parent == running.pid());
    let start = || sandbox.survivors().into_iter().find(is_start).filter(|_| is_making());
    eventually("it makes the directory", || {
        start().is_some() || running.stderr().contains("strace: ")
    });
    let Some(start) = start() else {
        skip(NAME, "strace cannot trace");
        return;
    };
    first.started();
    sandbox.signal(start, Signal::CONT);
    running.finish().expect(0, OK, "");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}
