//! PID files that somebody has prepared: refused in words, or seen through. In no case is a process
//! signalled, or called the daemon, that is not.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use daemonocle_tests::{Fixture, NOT_START, Pid, Sandbox, Stranger, eventually, is_alive};

const STARTED: &str = "Starting example ... OK\n";
const FAILED: &str = "Starting example ... FAILED\n";
const STOPPED: &str = "Stopping example ... OK\n";
const NOT_RUNNING: &str = "WARNING: example is not running\n";

const FORCE: [&str; 4] = ["stop", "--force", "--timeout", "0"];

/// A daemon with all actions.
fn daemon(sandbox: &Sandbox) -> Fixture<'_> {
    sandbox.fixture("ready").set("on_hup", "yes")
}

/// All actions refuse the PID file, and say why.
#[track_caller]
fn refused(sandbox: &Sandbox, fixture: &Fixture<'_>, why: &str) {
    let text = format!("ERROR: will not use PID file {:?}: {why}", fixture.pid_file());
    let before = sandbox.names();
    let parts = [&text, "; choose another path, or see by lslocks whether a daemon has it"];
    fixture.expect_refused(&parts);
    assert_eq!(sandbox.names(), before);
    sandbox.expect_nobody();
}

#[test]
fn a_symbolic_link() {
    let sandbox = Sandbox::new();
    let target = sandbox.write("target", "precious\n");
    symlink(&target, sandbox.path("example.pid")).unwrap();
    let fixture = daemon(&sandbox);
    refused(&sandbox, &fixture, "it is a symbolic link, not a regular file");
    assert_eq!(sandbox.read("target"), "precious\n");
}

#[test]
fn a_symbolic_link_to_nothing() {
    let sandbox = Sandbox::new();
    symlink(sandbox.path("nothing"), sandbox.path("example.pid")).unwrap();
    let fixture = daemon(&sandbox);
    refused(&sandbox, &fixture, "it is a symbolic link, not a regular file");
    assert!(!sandbox.path("nothing").exists());
}

#[test]
fn a_fifo() {
    let sandbox = Sandbox::new();
    sandbox.make_fifo("example.pid");
    refused(&sandbox, &daemon(&sandbox), "it is a FIFO, not a regular file");
}

#[test]
fn a_socket() {
    let sandbox = Sandbox::new();
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("example.pid")).unwrap();
    refused(&sandbox, &daemon(&sandbox), "it is a socket, not a regular file");
}

#[test]
fn a_device() {
    let sandbox = Sandbox::new();
    for path in ["/dev/null", "/dev/full", "/dev/zero"] {
        let fixture = daemon(&sandbox).set("pid_file", path);
        let text = format!("PID file {path:?}");
        fixture.expect_refused(&["ERROR: ", &text, "device, not a regular file"]);
    }
    sandbox.expect_nobody();
}

#[test]
fn a_directory() {
    let sandbox = Sandbox::new();
    let path = sandbox.make_dir("example.pid", 0o755);
    let fixture = daemon(&sandbox);
    let text = format!("ERROR: PID file {path:?} is a directory\n");
    fixture.start().expect(1, FAILED, &text);
    for arguments in NOT_START {
        fixture.run(arguments).finish().expect(1, "", &text);
    }
}

#[test]
fn a_file_below_a_file() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let fixture = daemon(&sandbox).set("pid_file", sandbox.path("file/example.pid"));
    fixture.start().expect_error(1, FAILED, &["ERROR: ", "file", "Not a directory"]);
    sandbox.expect_nobody();
}

#[test]
fn a_hard_link() {
    let sandbox = Sandbox::new();
    let other = sandbox.write("other", "precious\n");
    fs::hard_link(&other, sandbox.path("example.pid")).unwrap();
    refused(&sandbox, &daemon(&sandbox), "it is a hard link, one of 2 names of the same file");
    assert_eq!(sandbox.read("other"), "precious\n");
}

/// Contents that are no PID do no harm: they are reported and replaced.
#[test]
fn contents_that_are_no_pid() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.pid");
    let fixture = daemon(&sandbox);
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
        fixture.start().expect(0, STARTED, &replaced);
        assert!(is_alive(fixture.pid().unwrap()));
        fixture.stop().expect(0, STOPPED, "");
        fs::write(&path, text).unwrap();
        let removed = format!("{broken}removed\n{NOT_RUNNING}");
        fixture.stop().expect(0, "", &removed);
        assert!(!path.exists());
        fs::write(&path, text).unwrap();
        fixture.run(&FORCE).finish().expect(0, "", &removed);
        fs::write(&path, text).unwrap();
        fixture.reload().expect(1, "", NOT_RUNNING);
        assert_eq!(fs::read(&path).unwrap(), text);
        fixture.restart().expect(0, STARTED, &removed);
        fixture.stop().expect(0, STOPPED, "");
    }
}

#[test]
fn a_file_with_more_than_a_pid_is_somebodys() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.pid");
    let fixture = daemon(&sandbox);
    for size in [1 << 40, 65] {
        File::create(&path).unwrap().set_len(size).unwrap();
        let broken = ["WARNING: Empty or broken PID file", "; left as it is\n"];
        fixture.status().expect_error(1, "example -- not running\n", &broken);
        fixture.stop().expect_error(0, "", &broken);
        fixture.run(&FORCE).finish().expect_error(0, "", &broken);
        fixture.reload().expect(1, "", NOT_RUNNING);
        let why = format!("it has {size} bytes of something that is not a PID");
        for action in ["start", "restart"] {
            fixture.run(&[action]).finish().expect_error(1, FAILED, &[&why]);
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
    }
    File::create(&path).unwrap().set_len(64).unwrap();
    fixture.start().expect_error(0, STARTED, &["replacing it"]);
    let pid = fixture.pid().unwrap();
    assert!(is_alive(pid));
    assert_eq!(sandbox.read("example.pid"), format!("{pid}\n"));
}

/// With this PID in its file, which no daemon has: whatever is done, nobody is taken for the daemon.
#[track_caller]
fn nobody_is_meant(fixture: &Fixture<'_>, pid: Pid) {
    let text = format!("{pid}\n");
    let path = fixture.sandbox().write("example.pid", &text);
    // A program that goes by the number, and not by locks, may live by this file.
    let left = format!(
        "WARNING: PID file {} names process {pid}, which has no lock on it; left as it is\n\
         {NOT_RUNNING}",
        path.display()
    );
    fixture.status().expect(1, "example -- not running\n", "");
    fixture.stop().expect(0, "", &left);
    fixture.run(&FORCE).finish().expect(0, "", &left);
    fixture.reload().expect(1, "", NOT_RUNNING);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_ne!(fixture.started(), pid);
    fixture.stop().expect(0, STOPPED, "");
    fs::write(&path, text).unwrap();
    fixture.restart().expect(0, STARTED, &left);
    assert_ne!(fixture.pid(), Some(pid));
    fixture.stop().expect(0, STOPPED, "");
    assert!(is_alive(pid));
}

#[test]
fn a_stale_file_that_names_a_living_process() {
    let sandbox = Sandbox::new();
    let mut stranger = Stranger::new();
    let fixture = daemon(&sandbox);
    for pid in [stranger.pid(), 1, std::process::id().cast_signed()] {
        nobody_is_meant(&fixture, pid);
    }
    assert!(stranger.is_unharmed());
}

#[test]
fn a_stale_file_that_names_the_command_itself() {
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let run = |arguments: &[&str]| {
        let script = "echo $$ > \"$FIXTURE_PID_FILE\"; exec \"$@\"";
        fixture.run(arguments).through(script).finish()
    };
    run(&["status"]).expect(1, "example -- not running\n", "");
    for arguments in [&["stop"][..], &FORCE] {
        run(arguments).expect_error(0, "", &[NOT_RUNNING]);
    }
    run(&["reload"]).expect(1, "", NOT_RUNNING);
    run(&["start"]).expect(0, STARTED, "");
    fixture.stop().expect(0, STOPPED, "");
    run(&["restart"]).expect_error(0, STARTED, &[NOT_RUNNING]);
    fixture.stop().expect(0, STOPPED, "");
    sandbox.expect_nobody();
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
    let fixture = daemon(&sandbox);
    let number = hear.recv().unwrap();
    // kill(2) takes it for the number of its process, and so may another program.
    let left = format!(
        "WARNING: PID file {} names process {number}, which has no lock on it; left as it is\n{NOT_RUNNING}",
        fixture.pid_file().display()
    );
    for (number, warning) in [(number, left), (pid, NOT_RUNNING.to_owned())] {
        sandbox.write("example.pid", format!("{number}\n"));
        fixture.status().expect(1, "example -- not running\n", "");
        let force = fixture.run(&FORCE).finish();
        force.expect(0, "", &warning);
        sandbox.write("example.pid", format!("{number}\n"));
        assert_ne!(fixture.started(), number);
        fixture.stop().expect(0, STOPPED, "");
    }
    zombie.wait().unwrap();
    drop(end);
    thread.join().unwrap();
}

#[test]
fn an_empty_file_means_not_running() {
    let sandbox = Sandbox::new();
    sandbox.write("example.pid", "");
    let fixture = daemon(&sandbox);
    fixture.status().expect(1, "example -- not running\n", "");
    fixture.stop().expect(0, "", NOT_RUNNING);
    sandbox.write("example.pid", "");
    assert!(is_alive(fixture.started()));
}

#[test]
fn a_path_that_is_none() {
    let sandbox = Sandbox::new();
    for path in [".", "..", "/", "dir/..", "a/"] {
        let fixture = daemon(&sandbox).set("pid_file", path);
        let output = fixture.run(&["start"]).current_dir(sandbox.dir()).finish();
        output.expect_error(1, FAILED, &["ERROR: PID file"]);
        assert!(sandbox.names().is_empty(), "{path}");
    }
}
