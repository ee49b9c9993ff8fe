//! A worker that closes descriptors which are not its own, the library's among them: the daemon,
//! which has lost its locks, ends and says why, and does not go round in circles.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use daemonocle_tests::{Sandbox, descriptors, eventually, is_alive, skip, skip_unless_there_is};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const GONE: &str = "All children are gone. Parent is exiting...\n";
const REASON: &str = "1|Exiting with message: its descriptors were closed\n";

#[test]
fn a_running_daemon_ends() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture("close-all").set("trigger", &fifo);
    let pid = fixture.started();
    fs::write(&fifo, "").unwrap();
    eventually("the daemon has ended", || !is_alive(pid));
    assert_eq!(fixture.hook_log(), REASON);
    fixture.status().expect(1, "example -- not running\n", "");
    sandbox.fixture("ready").started();
}

/// While the library still has things to do with them: it must not do them to what is in their place
/// by then.
#[test]
fn a_daemon_that_is_busy_with_them_ends() {
    let name = "a_daemon_that_is_busy_with_them_ends";
    if skip_unless_there_is("strace", name) {
        return;
    }
    for calls in ["recvfrom", "fstat,newfstatat,statx", "dup2,dup3", "close"] {
        let sandbox = Sandbox::new();
        let fifo = sandbox.make_fifo("fifo");
        let fixture = sandbox.fixture("close-all").set("trigger", &fifo);
        let inject = format!("inject={calls}:delay_exit=30000");
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", &inject];
        let trial = fixture.watch(&[&strace[..], &["true"]].concat()).finish();
        if trial.code() != Some(0) {
            skip(name, &format!("strace cannot trace: {}", trial.stderr.trim()));
            return;
        }
        let start = fixture.run(&["start"]).under(&strace).spawn();
        start.says(OK);
        fs::write(&fifo, "").unwrap();
        start.finish().expect(0, OK, "");
        assert_eq!(fixture.hook_log(), REASON, "{calls}");
        sandbox.expect_nobody();
    }
}

#[test]
fn a_start_fails() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("close-all").set("ready", "60");
    let output = fixture.start();
    let text = "ERROR: Child exited immediately with exit code 1\n";
    output.expect_error(1, "Starting example ... FAILED\n", &[text]);
    assert_eq!(fixture.hook_log(), REASON);
    sandbox.expect_nobody();
    assert!(!sandbox.path("example.pid").exists());
}

#[test]
fn so_does_the_foreground() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture("close-all").set("trigger", &fifo);
    let running = fixture.foreground();
    running.says(OK);
    fixture.settled();
    fs::write(&fifo, "").unwrap();
    let output = running.finish();
    output.expect(1, &format!("{OK}{GONE}"), "");
    assert_eq!(fixture.hook_log(), REASON);
    sandbox.expect_nobody();
}

/// What is in the place of the library's descriptors is the worker's, and nobody else's to change.
#[test]
fn a_file_of_the_workers_is_left_alone() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    // To the library this would say that SIGTERM has come from the kernel.
    let precious = [15_i32.to_ne_bytes(), (-1_i32).to_ne_bytes(), [0; 4], [0; 4]].concat();
    let data = sandbox.write("data", &precious);
    let fixture = sandbox.fixture("replace-all").set("trigger", &fifo).set("open", &data);
    let pid = fixture.started();
    fs::write(&fifo, "").unwrap();
    eventually("the daemon has ended", || !is_alive(pid));
    assert_eq!(fixture.hook_log(), REASON);
    assert_eq!(fs::read(data).unwrap(), precious);
}

/// Nothing ever comes from a FIFO that nobody writes to, and so the daemon does not notice: then a
/// signal does what it does to any program.
#[test]
fn a_pipe_of_the_workers_gets_nothing_of_the_librarys() {
    let sandbox = Sandbox::new();
    let (fifo, silent) = (sandbox.make_fifo("fifo"), sandbox.make_fifo("silent"));
    let fixture = sandbox.fixture("replace-all").set("trigger", &fifo).set("open", &silent);
    let pid = fixture.started();
    let mut pipe = File::options();
    let mut pipe =
        pipe.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&silent).unwrap();
    fs::write(&fifo, "").unwrap();
    eventually("all are replaced", || {
        let open = descriptors(pid);
        (3..30).all(|number| open.get(&number).is_some_and(|path| Path::new(path) == silent))
    });
    sandbox.signal(pid, Signal::TERM);
    eventually("the daemon has ended", || !is_alive(pid));
    let read = pipe.read(&mut [0; 100]);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock, "nothing was written to it");
}
