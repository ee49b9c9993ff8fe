//! PID files that somebody has prepared: refused in words, or seen through. In no case is a process
//! signalled, or called the daemon, that is not.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use daemonocle_tests::{Fixture, Sandbox, Stranger, eventually, is_alive, skip_unless_root};

const FAILED: &str = "Starting example ... FAILED\n";

/// All three actions refuse the PID file, and say why.
#[track_caller]
fn refused(sandbox: &Sandbox, fixture: &Fixture<'_>, why: &str) {
    let text = format!("ERROR: will not use PID file {:?}: {why}", sandbox.path("example.pid"));
    let before = sandbox.names();
    let parts = [&text, "; choose another path, or see by lslocks whether a daemon has it"];
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
fn a_file_with_more_than_a_pid_is_somebodys() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.pid");
    let fixture = sandbox.fixture("ready");
    for size in [1 << 40, 65] {
        File::create(&path).unwrap().set_len(size).unwrap();
        let broken = ["WARNING: Empty or broken PID file", "; left as it is\n"];
        fixture.status().expect_error(1, "example -- not running\n", &broken);
        fixture.stop().expect_error(0, "", &broken);
        let why = format!("it has {size} bytes of something that is not a PID");
        fixture.start().expect_error(1, FAILED, &[&why]);
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
    }
    File::create(&path).unwrap().set_len(64).unwrap();
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
    for pid in [stranger.pid(), 1, std::process::id().cast_signed()] {
        let path = sandbox.write("example.pid", format!("{pid}\n"));
        fixture.status().expect(1, "example -- not running\n", "");
        let force = fixture.run(&["stop", "--force", "--timeout", "0"]).finish();
        // A program that goes by the number, and not by locks, may live by this file.
        let left = format!(
            "WARNING: PID file {} names process {pid}, which has no lock on it; left as it is\n\
             WARNING: example is not running\n",
            path.display()
        );
        force.expect(0, "", &left);
        assert_eq!(sandbox.read("example.pid"), format!("{pid}\n"));
        assert_ne!(fixture.started(), pid);
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
    }
    assert!(stranger.is_unharmed());
}

/// A thread, and a dead process that nobody has buried.
#[test]
fn a_stale_file_that_names_what_is_no_process() {
    let sandbox = Sandbox::new();
    let (tell, hear) = std::sync::mpsc::channel();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_pid()).unwrap();
        let _ = wait.recv();
    });
    let mut zombie = std::process::Command::new("true").spawn().unwrap();
    let pid = zombie.id().cast_signed();
    eventually("it is dead", || !is_alive(pid));
    let fixture = sandbox.fixture("ready");
    let not_running = "WARNING: example is not running\n".to_owned();
    let number = hear.recv().unwrap();
    // kill(2) takes it for the number of its process, and so may another program.
    let left = format!(
        "WARNING: PID file {} names process {number}, which has no lock on it; left as it is\n{not_running}",
        fixture.pid_file().display()
    );
    for (number, warning) in [(number, left), (pid, not_running)] {
        sandbox.write("example.pid", format!("{number}\n"));
        fixture.status().expect(1, "example -- not running\n", "");
        let force = fixture.run(&["stop", "--force", "--timeout", "0"]).finish();
        force.expect(0, "", &warning);
        sandbox.write("example.pid", format!("{number}\n"));
        assert_ne!(fixture.started(), number);
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
    }
    zombie.wait().unwrap();
    drop(end);
    thread.join().unwrap();
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
fn a_path_that_is_none() {
    let sandbox = Sandbox::new();
    for path in [".", "..", "/", "dir/..", "a/"] {
        let fixture = sandbox.fixture("ready").set("pid_file", path);
        let output = fixture.run(&["start"]).current_dir(sandbox.dir()).finish();
        output.expect_error(1, FAILED, &["ERROR: PID file"]);
        assert!(sandbox.names().is_empty(), "{path}");
    }
}
