//! Somebody else's locks on a PID file: he is neither called the daemon nor signalled.

use std::fs::{self, File};
use std::path::Path;

use daemonocle_tests::{
    ALL, CLAIM, Fixture, LIFE, Lock, Output, Pid, Running, STARTUP, STAYING, Sandbox, Stranger,
    eventually, is_alive, places, program, skip, skip_unless_root, skip_unless_there_is,
};

const FAILED: &str = "Starting example ... FAILED\n";

#[test]
fn a_file_that_a_stranger_has_locked() {
    let sandbox = Sandbox::new();
    let mut stranger = Stranger::new();
    let path = sandbox.write("example.pid", format!("{}\n", stranger.pid()));
    let fixture = sandbox.fixture("ready").set("ready", "0.2").set("stop", "0.2");
    // All of it, and the bytes that a daemon holds for life: `CLAIM`, `LIFE`, both.
    for bytes in [ALL, CLAIM..CLAIM + 1, LIFE..LIFE + 1, CLAIM..LIFE + 1] {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        Lock::Write.take(&file, bytes.clone());
        assert_eq!(fixture.status().code(), Some(1), "{bytes:?}");
        for arguments in [&["stop"][..], &["stop", "--force", "--timeout", "0"], &["start"]] {
            let output = fixture.run(arguments).finish();
            assert_eq!(output.code(), Some(1), "{bytes:?}: {output:?}");
            assert!(output.stderr.contains(&format!("{path:?}")), "{bytes:?}: {output:?}");
        }
        assert!(stranger.is_unharmed());
        sandbox.expect_nobody();
        sandbox.write("example.pid", format!("{}\n", stranger.pid()));
    }
    for place in places(&path) {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        Lock::Write.take(&file, place..place + 1);
        let text = format!("{path:?} is locked by a process that is not the daemon");
        fixture.start().expect_error(1, FAILED, &[&text]);
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
    // All of it, and each of the bytes.
    let one = |byte| byte..byte + 1;
    let [entry, by_path] = places(&path).map(one);
    for bytes in [ALL, one(STARTUP), one(CLAIM), one(LIFE), one(STAYING), entry, by_path] {
        sandbox.write("example.pid", "1\n");
        let reader = File::open(&path).unwrap();
        Lock::Read.take(&reader, bytes.clone());
        let pid = fixture.started();
        assert_eq!(fixture.pid(), Some(pid), "{bytes:?}");
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        assert!(!path.exists(), "{bytes:?}");
    }
    // While it runs, too: a second start finds it, and a restart takes its place.
    let pid = fixture.started();
    let reader = File::open(&path).unwrap();
    Lock::Read.take(&reader, 0..STARTUP);
    let told = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &told);
    fixture.restart().expect(0, "Stopping example ... OK\nStarting example ... OK\n", "");
}

/// Whoever may write to the PID file and not to its directory cannot get himself another one: he is told
/// who can, and that nothing is running all the same.
#[test]
fn a_reader_of_a_file_that_cannot_be_replaced() {
    if skip_unless_root("a_reader_of_a_file_that_cannot_be_replaced") {
        return;
    }
    const USER: u32 = 3_900_004;
    let sandbox = Sandbox::new();
    let path = sandbox.write("example.pid", "4194304\n");
    std::os::unix::fs::chown(&path, Some(USER), Some(USER)).unwrap();
    let reader = File::open(&path).unwrap();
    Lock::Read.take(&reader, CLAIM..CLAIM + 1);
    let fixture = sandbox.fixture("ready").unset("hook_log").for_everybody();
    let run = |action: &str| fixture.run(&[action]).as_user(USER, USER).finish();
    let why = format!(
        "ERROR: PID file {path:?} is locked by a process that is not the daemon, and you may not replace \
         it: end that process (see lslocks), or let somebody delete the file who may write to its \
         directory\n"
    );
    run("start").expect(1, FAILED, &why);
    assert_eq!(sandbox.read("example.pid"), "4194304\n");
    run("stop").expect(0, "", "WARNING: example is not running\n");
    assert_eq!(sandbox.read("example.pid"), "");
    drop(reader);
    run("start").expect(0, "Starting example ... OK\n", "");
    let reader = File::open(&path).unwrap();
    Lock::Read.take(&reader, 0..STARTUP);
    run("stop").expect(0, "Stopping example ... OK\n", "");
    assert_eq!(sandbox.read("example.pid"), "");
}

/// Locks the file like a daemon, by a process that ends; somebody with whom it shared its
/// descriptors does not, and the kernel goes on naming the number of the one that is gone.
#[track_caller]
fn leave_locks(fixture: &Fixture<'_>, locks: &[&str]) -> Pid {
    let (path, program) = (fixture.sandbox().path("example.pid"), program("leave_locks"));
    let words = [&[program.to_str().unwrap(), path.to_str().unwrap()], locks].concat();
    let gone = fixture.watch(&words).finish();
    assert_eq!(gone.code(), Some(0), "{gone:?}");
    fs::write(path, &gone.stdout).unwrap();
    gone.stdout.trim().parse().unwrap()
}

#[test]
fn a_lock_that_its_process_has_left_behind() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    leave_locks(&fixture, &["claim", "life"]);
    for arguments in [&["status"][..], &["stop"], &["start"]] {
        let output = fixture.run(arguments).finish();
        output.expect_error(1, if arguments == ["start"] { FAILED } else { "" }, &["is locked by"]);
    }
}

/// A process that has the PID of one that has left its locks behind. It even has the file open, for
/// reading.
struct Successor {
    pid: Pid,
    running: Running,
}

impl Successor {
    /// `None`: it cannot be made here.
    fn of(fixture: &Fixture<'_>, name: &str, command: &[&str]) -> Option<Self> {
        /// Its number is fixed. Everywhere else F_GETLK shows a process that is gone as 0.
        const INITIAL: &str = "pid:[4026531836]";
        if skip_unless_root(name) {
            return None;
        }
        if fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link != Path::new(INITIAL)) {
            skip(name, "needs the initial PID namespace");
            return None;
        }
        let pid = leave_locks(fixture, &["claim", "life"]);
        let (with_pid, number) = (program("with_pid"), pid.to_string());
        let words = [&[with_pid.to_str().unwrap(), &number], command].concat();
        let path = fixture.sandbox().path("example.pid");
        let mut running = fixture.watch(&words).stdin(File::open(path).unwrap()).spawn();
        let comm = format!("/proc/{pid}/comm");
        eventually("the PID is given to somebody else", || {
            !running.is_running() || fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n")
        });
        if running.is_running() {
            return Some(Self { pid, running });
        }
        skip(name, &format!("cannot choose a PID: {}", running.finish().stderr));
        None
    }

    #[track_caller]
    fn expect_unharmed(&mut self) {
        assert!(is_alive(self.pid) && self.running.is_running());
    }
}

#[test]
fn a_lock_left_behind_under_a_pid_that_is_recycled() {
    let name = "a_lock_left_behind_under_a_pid_that_is_recycled";
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let Some(mut successor) = Successor::of(&fixture, name, &["sleep", "600"]) else {
        return;
    };
    let why = "is locked by a process that is not the daemon";
    for arguments in [&["status"][..], &["stop", "--force", "--timeout", "0"], &["restart"]] {
        fixture.run(arguments).finish().expect_error(1, "", &[why]);
    }
    fixture.start().expect_error(1, FAILED, &[why]);
    successor.expect_unharmed();
}

/// Whoever may not look at its files goes by the user that it acts as.
#[test]
fn a_recycled_pid_of_a_process_that_may_not_be_examined() {
    let name = "a_recycled_pid_of_a_process_that_may_not_be_examined";
    if skip_unless_there_is("setpriv", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").for_everybody();
    let command = "setpriv --reuid 54321 --regid 54321 --clear-groups sleep 600";
    let command: Vec<_> = command.split(' ').collect();
    let Some(mut successor) = Successor::of(&fixture, name, &command) else {
        return;
    };
    let why = "is locked by a process of a user who cannot be the daemon's";
    for arguments in [["status"], ["stop"]] {
        let run = fixture.run(&arguments).as_user(12345, 12345);
        run.finish().expect_error(1, "", &[why]);
    }
    successor.expect_unharmed();
}

/// The same by the kernel's list of all locks, when the file has no name any more.
#[test]
fn a_recycled_pid_and_a_deleted_file() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let name = "a_recycled_pid_and_a_deleted_file";
    let Some(mut successor) = Successor::of(&fixture, name, &["sleep", "600"]) else {
        return;
    };
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    let listed = format!(" WRITE {} ", successor.pid);
    assert!(fs::read_to_string("/proc/locks").unwrap().contains(&listed));
    fixture.status().expect(1, "example -- not running\n", "");
    let force = fixture.run(&["stop", "--force", "--timeout", "0"]).finish();
    force.expect(0, "", "WARNING: example is not running\n");
    fixture.started();
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    successor.expect_unharmed();
}

/// The first files of two new file systems have the same inode number. One is that of a daemon,
/// which has the other one open too, for reading, and is named in it.
const SAME_NUMBER: &str = r#"
set -e
mkdir one two
mount -t tmpfs none one
mount -t tmpfs none two
echo > two/example.pid
FIXTURE_PID_FILE=one/example.pid "$@" start 9< two/example.pid
pid=$(cat one/example.pid)
[ $(stat -c %i one/example.pid) = $(stat -c %i two/example.pid) ] || exit 77
echo $pid > two/example.pid
echo begin
"#;

/// Runs the rest of the script with `two/example.pid` as the PID file.
fn with_same_number(name: &str, script: &str) -> Option<Output> {
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return None;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("pid_file", "two/example.pid");
    let run = fixture.run(&[]).env("LEAVE_LOCKS", program("leave_locks"));
    let run = run.through(&format!("{SAME_NUMBER}{script}")).current_dir(sandbox.dir());
    let output = run.under(&["unshare", "--mount"]).finish();
    if output.code() == Some(77) {
        skip(name, "the kernel gives out inode numbers for all file systems of a kind");
        return None;
    }
    if output.stderr.contains("unshare: ") || output.stderr.contains("mount: ") {
        skip(name, "no mount namespaces");
        return None;
    }
    assert_eq!(output.code(), Some(0), "{output:?}");
    Some(output)
}

#[test]
fn a_claim_on_a_file_with_the_same_number() {
    let script = r#"
        "$LEAVE_LOCKS" two/example.pid claim > /dev/null
        "$@" status || echo status $?
        "$@" start || echo start $?
        "$@" stop --force --timeout 0 || echo stop $?
        FIXTURE_PID_FILE=one/example.pid "$@" stop
    "#;
    let name = "a_claim_on_a_file_with_the_same_number";
    let Some(output) = with_same_number(name, script) else {
        return;
    };
    let (_, after) = output.stdout.split_once("begin\n").unwrap();
    let wanted = "status 1\nStarting example ... FAILED\nstart 1\nstop 1\n\
                  Stopping example ... OK\n";
    assert_eq!(after, wanted, "{output:?}");
    let why = "is locked by a process that is not the daemon";
    assert_eq!(output.stderr.matches(why).count(), 3, "{output:?}");
}

#[test]
fn a_deleted_file_with_the_same_number() {
    let script = r#"
        rm two/example.pid
        "$@" status || echo status $?
        "$@" stop --force --timeout 0
        FIXTURE_PID_FILE=one/example.pid "$@" stop
    "#;
    let Some(output) = with_same_number("a_deleted_file_with_the_same_number", script) else {
        return;
    };
    let (_, after) = output.stdout.split_once("begin\n").unwrap();
    let wanted = "example -- not running\nstatus 1\nStopping example ... OK\n";
    assert_eq!(after, wanted, "{output:?}");
    assert_eq!(output.stderr, "WARNING: example is not running\n");
}
