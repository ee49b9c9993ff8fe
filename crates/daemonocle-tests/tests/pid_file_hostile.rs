//! PID files and directories that somebody has prepared: refused in words, or seen through. In no
//! case is a process signalled, or called the daemon, that is not.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};

use daemonocle_tests::{Fixture, Sandbox, eventually, is_alive, skip_unless_root};
use rustix::process::Signal;

/// A process that has nothing to do with any daemon.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn is_unharmed(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const FAILED: &str = "Starting example ... FAILED\n";

/// All three actions refuse the PID file, and say why.
#[track_caller]
fn refused(sandbox: &Sandbox, fixture: &Fixture<'_>, why: &str) {
    let text = format!("ERROR: will not use PID file {:?}: {why}", sandbox.path("example.pid"));
    let before = sandbox.names();
    let parts = [&text, "; remove it or choose another path\n"];
    fixture.start().expect_error(1, FAILED, &parts);
    for output in [fixture.stop(), fixture.status(), fixture.restart()] {
        output.expect_error(1, "", &parts);
    }
    assert_eq!(sandbox.names(), before);
    sandbox.expect_nobody();
}

#[test]
fn a_symbolic_link() {
    let sandbox = Sandbox::new();
    let target = sandbox.write("target", "precious\n");
    symlink(&target, sandbox.path("example.pid")).unwrap();
    let fixture = sandbox.fixture("ready");
    refused(&sandbox, &fixture, "it is a symbolic link, not a regular file");
    assert_eq!(sandbox.read("target"), "precious\n");
}

#[test]
fn a_symbolic_link_to_nothing() {
    let sandbox = Sandbox::new();
    symlink(sandbox.path("nothing"), sandbox.path("example.pid")).unwrap();
    let fixture = sandbox.fixture("ready");
    refused(&sandbox, &fixture, "it is a symbolic link, not a regular file");
    assert!(!sandbox.path("nothing").exists());
}

#[test]
fn a_fifo() {
    let sandbox = Sandbox::new();
    sandbox.make_fifo("example.pid");
    refused(&sandbox, &sandbox.fixture("ready"), "it is a FIFO, not a regular file");
}

#[test]
fn a_socket() {
    let sandbox = Sandbox::new();
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("example.pid")).unwrap();
    refused(&sandbox, &sandbox.fixture("ready"), "it is a socket, not a regular file");
}

#[test]
fn a_device() {
    let sandbox = Sandbox::new();
    for path in ["/dev/null", "/dev/full", "/dev/zero"] {
        let fixture = sandbox.fixture("ready").set("pid_file", path);
        let text = format!("PID file {path:?}");
        let parts = ["ERROR: ", &text, "device, not a regular file"];
        fixture.start().expect_error(1, FAILED, &parts);
        for output in [fixture.stop(), fixture.status()] {
            output.expect_error(1, "", &parts);
        }
    }
    sandbox.expect_nobody();
}

#[test]
fn a_directory() {
    let sandbox = Sandbox::new();
    let path = sandbox.make_dir("example.pid", 0o755);
    let fixture = sandbox.fixture("ready");
    let text = format!("ERROR: PID file {path:?} is a directory\n");
    fixture.start().expect(1, FAILED, &text);
    for output in [fixture.stop(), fixture.status()] {
        output.expect(1, "", &text);
    }
}

#[test]
fn a_file_below_a_file() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let fixture = sandbox.fixture("ready").set("pid_file", sandbox.path("file/example.pid"));
    fixture.start().expect_error(1, FAILED, &["ERROR: ", "file", "Not a directory"]);
    sandbox.expect_nobody();
}

#[test]
fn a_hard_link() {
    let sandbox = Sandbox::new();
    let other = sandbox.write("other", "precious\n");
    fs::hard_link(&other, sandbox.path("example.pid")).unwrap();
    let text = "it is a hard link, one of 2 names of the same file";
    sandbox.fixture("ready").start().expect_error(1, FAILED, &["ERROR: will not use", text]);
    assert_eq!(sandbox.read("other"), "precious\n");
    sandbox.expect_nobody();
}

#[test]
fn a_file_that_every_user_may_write() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("example.pid", "");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let text = "every user may write to it";
    sandbox.fixture("ready").start().expect_error(1, FAILED, &["ERROR: will not use", text]);
    sandbox.expect_nobody();
}

#[test]
fn a_directory_that_every_user_may_write() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o777);
    let fixture = sandbox.fixture("ready").set("pid_file", dir.join("example.pid"));
    let parts = ["ERROR: PID file", "every user may write there (mode 0777)"];
    fixture.start().expect_error(1, FAILED, &parts);
    sandbox.expect_nobody();
    // As /tmp is: nobody can put another file in its place.
    fs::set_permissions(&dir, Permissions::from_mode(0o1777)).unwrap();
    fixture.started();
}

#[test]
fn a_file_of_another_user() {
    if skip_unless_root("a_file_of_another_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let path = sandbox.write("example.pid", "");
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    let parts = ["ERROR: will not use", "it belongs to user 12345"];
    sandbox.fixture("ready").start().expect_error(1, FAILED, &parts);
    sandbox.expect_nobody();
    assert_eq!(sandbox.read("example.pid"), "");
}

#[test]
fn a_directory_of_another_user() {
    if skip_unless_root("a_directory_of_another_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o755);
    std::os::unix::fs::chown(&dir, Some(12345), None).unwrap();
    let fixture = sandbox.fixture("ready").set("pid_file", dir.join("example.pid"));
    let parts = ["ERROR: PID file", "it belongs to user 12345, who could replace the file"];
    fixture.start().expect_error(1, FAILED, &parts);
    sandbox.expect_nobody();
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

/// Contents that are no PID do no harm: they are reported and replaced.
#[test]
fn contents_that_are_no_pid() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.pid");
    let fixture = sandbox.fixture("ready");
    let broken = format!("WARNING: Empty or broken PID file {}; ", path.display());
    for text in [
        &b"hello\n"[..],
        b"-1\n",
        b"0\n",
        b"1 2\n",
        b"99999999999999999999\n",
        b"\xff\xfe\x00\x01",
        b"\n",
        b"12\0",
        b"0x10",
    ] {
        fs::write(&path, text).unwrap();
        let left = format!("{broken}left as it is\n");
        fixture.status().expect(1, "example -- not running\n", &left);
        assert_eq!(fs::read(&path).unwrap(), text);
        let replaced = format!("{broken}replacing it\n");
        fixture.start().expect(0, "Starting example ... OK\n", &replaced);
        assert!(is_alive(fixture.pid().unwrap()));
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        fs::write(&path, text).unwrap();
        let removed = format!("{broken}removed\nWARNING: example is not running\n");
        fixture.stop().expect(0, "", &removed);
        assert!(!path.exists());
    }
}

#[test]
fn a_huge_file() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.pid");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let fixture = sandbox.fixture("ready");
    fixture.status().expect_error(1, "example -- not running\n", &["WARNING: Empty or broken"]);
    fixture.start().expect_error(0, "Starting example ... OK\n", &["replacing it"]);
    let pid = fixture.pid().unwrap();
    assert!(is_alive(pid));
    assert_eq!(sandbox.read("example.pid"), format!("{pid}\n"));
}

#[test]
fn a_stale_file_that_names_a_living_process() {
    let sandbox = Sandbox::new();
    let mut stranger = Stranger::new();
    let fixture = sandbox.fixture("ready");
    for pid in [stranger.pid(), 1, std::process::id()] {
        let path = sandbox.write("example.pid", format!("{pid}\n"));
        fixture.status().expect(1, "example -- not running\n", "");
        let force = fixture.run(&["stop", "--force", "--timeout", "0"]).finish();
        force.expect(0, "", "WARNING: example is not running\n");
        assert!(!path.exists());
        sandbox.write("example.pid", format!("{pid}\n"));
        assert_ne!(fixture.started(), pid.cast_signed());
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
    }
    assert!(stranger.is_unharmed());
}

#[test]
fn a_file_that_was_edited_still_leads_to_the_daemon() {
    let sandbox = Sandbox::new();
    let mut stranger = Stranger::new();
    let fixture = sandbox.fixture("ready");
    for text in [format!("{}\n", stranger.pid()), "1\n".into(), "x".into(), String::new()] {
        let pid = fixture.started();
        sandbox.write("example.pid", &text);
        let status = fixture.status();
        let shown = format!("example -- pid: {pid}, ");
        assert!(status.stdout.starts_with(&shown), "{text:?}: {status:?}");
        let told = format!("WARNING: example already running with PID {pid}\n");
        fixture.start().expect(0, "", &told);
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        assert!(!is_alive(pid));
        assert!(!sandbox.path("example.pid").exists(), "{text:?}");
    }
    assert!(stranger.is_unharmed());
}

#[test]
fn an_empty_file_means_not_running() {
    let sandbox = Sandbox::new();
    sandbox.write("example.pid", "");
    let fixture = sandbox.fixture("ready");
    fixture.status().expect(1, "example -- not running\n", "");
    fixture.stop().expect(0, "", "WARNING: example is not running\n");
    sandbox.write("example.pid", "");
    assert!(is_alive(fixture.started()));
}

#[test]
fn a_daemon_whose_file_was_deleted_is_found() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let output = fixture.start();
    assert!(output.stderr.contains(&pid.to_string()), "{output:?}");
    assert_eq!(sandbox.survivors(), [pid], "no second one");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    assert!(is_alive(fixture.started()));
}

#[test]
fn a_daemon_does_not_remove_a_file_that_is_not_its_own() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    sandbox.write("example.pid", "another\n");
    sandbox.signal(pid, Signal::TERM);
    eventually("it has ended", || !is_alive(pid));
    assert_eq!(sandbox.read("example.pid"), "another\n");
}

#[test]
fn a_copy_of_the_file_is_nothing() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready").started();
    let copy = sandbox.path("copy.pid");
    fs::copy(sandbox.path("example.pid"), &copy).unwrap();
    let fixture = sandbox.fixture("ready").set("pid_file", &copy);
    fixture.status().expect(1, "example -- not running\n", "");
    fixture.stop().expect(0, "", "WARNING: example is not running\n");
    assert!(is_alive(pid));
}

/// Locks bytes of the file for its open description, as a careless or hostile program may.
fn squat(file: &File, start: i64, length: i64) {
    lock(file, libc::F_WRLCK, start, length);
}

fn lock(file: &File, kind: libc::c_int, start: i64, length: i64) {
    use std::os::fd::AsRawFd;
    // SAFETY: all zero is a valid value of this plain struct.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_start = start;
    lock.l_len = length;
    // Waits: a test beside this one may just be forking, with a copy of an earlier descriptor.
    // SAFETY: the descriptor is open, and the command reads this struct.
    let code = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const lock) };
    assert_eq!(code, 0);
}

#[test]
fn a_file_that_a_stranger_has_locked() {
    let sandbox = Sandbox::new();
    let mut stranger = Stranger::new();
    let path = sandbox.write("example.pid", format!("{}\n", stranger.pid()));
    let fixture = sandbox.fixture("ready").set("ready", "0.2").set("stop", "0.2");
    // All of it, and the bytes that a daemon holds for life: `CLAIM`, `LIFE`, both.
    for (start, length) in [(0, 0), ((1 << 30) + 1, 1), ((1 << 30) + 2, 1), ((1 << 30) + 1, 2)] {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        squat(&file, start, length);
        assert_eq!(fixture.status().code(), Some(1), "{start}");
        for arguments in [&["stop"][..], &["stop", "--force", "--timeout", "0"], &["start"]] {
            let output = fixture.run(arguments).finish();
            assert_eq!(output.code(), Some(1), "{start}: {output:?}");
            assert!(output.stderr.contains(&format!("{path:?}")), "{start}: {output:?}");
        }
        assert!(stranger.is_unharmed());
        sandbox.expect_nobody();
        sandbox.write("example.pid", format!("{}\n", stranger.pid()));
    }
    fixture.start().expect(0, "Starting example ... OK\n", "");
}

#[test]
fn a_reader_cannot_keep_the_daemon_from_starting() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("example.pid", "");
    let reader = File::open(&path).unwrap();
    reader.lock_shared().unwrap();
    assert!(is_alive(sandbox.fixture("ready").started()));
}

#[test]
fn a_reader_with_locks_on_all_bytes_cannot_either() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.pid");
    let fixture = sandbox.fixture("ready");
    // All of it, and each of the three bytes.
    for (start, length) in [(0, 0), (1 << 30, 1), ((1 << 30) + 1, 1), ((1 << 30) + 2, 1)] {
        sandbox.write("example.pid", "1\n");
        let reader = File::open(&path).unwrap();
        lock(&reader, libc::F_RDLCK, start, length);
        let pid = fixture.started();
        assert_eq!(fixture.pid(), Some(pid), "{start}");
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        assert!(!path.exists(), "{start}");
    }
    // While it runs, too: a second start finds it, and a restart takes its place.
    let pid = fixture.started();
    let reader = File::open(&path).unwrap();
    lock(&reader, libc::F_RDLCK, 0, 1 << 30);
    let told = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &told);
    fixture.restart().expect(0, "Stopping example ... OK\nStarting example ... OK\n", "");
}

#[test]
fn a_lock_that_its_process_has_left_behind() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("before", "leave-lock");
    // It locks the file like a daemon, and ends; somebody with whom it shared its descriptors does
    // not, and the kernel goes on naming the number of the one that is gone.
    let gone = fixture.run(&["status"]).finish();
    assert_eq!(gone.code(), Some(0), "{gone:?}");
    let fixture = sandbox.fixture("ready");
    for arguments in [&["status"][..], &["stop"], &["start"]] {
        let output = fixture.run(arguments).finish();
        output.expect_error(1, if arguments == ["start"] { FAILED } else { "" }, &["is locked by"]);
    }
}

#[test]
fn a_path_that_is_none() {
    let sandbox = Sandbox::new();
    for path in [".", "..", "/", "dir/..", "a/"] {
        let fixture = sandbox.fixture("ready").set("pid_file", path);
        let output = fixture.run(&["start"]).current_dir(sandbox.dir()).finish();
        if path != "a/" {
            output.expect_error(1, FAILED, &["ERROR: PID file"]);
        }
    }
}
