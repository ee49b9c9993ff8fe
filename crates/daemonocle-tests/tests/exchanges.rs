//! Files and directories that an enemy exchanges while an action is at it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use daemonocle_tests::{Sandbox, eventually, skip, skip_unless_root, skip_unless_there_is};
use rustix::fs::{CWD, RenameFlags, renameat_with};

const ENEMY: u32 = 12345;

/// A working directory that the enemy exchanges for a link is the one that was checked, or an error.
#[test]
fn a_working_directory_that_is_exchanged_leads_nowhere_else() {
    if skip_unless_root("a_working_directory_that_is_exchanged_leads_nowhere_else") {
        return;
    }
    const ATTEMPTS: usize = 100;
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("enemys", 0o755);
    let work = sandbox.make_dir("enemys/work", 0o755);
    let link = dir.join("link");
    symlink("/etc", &link).unwrap();
    for path in [&dir, &work] {
        chown(path, Some(ENEMY), Some(ENEMY)).unwrap();
    }
    lchown(&link, Some(ENEMY), Some(ENEMY)).unwrap();
    let fixture = sandbox.fixture("ready").unset("hook_log").set("work_dir", &work);
    let started = thread::scope(|scope| {
        let (going_on, told) = mpsc::channel::<()>();
        let (work, link) = (&work, &link);
        scope.spawn(move || {
            while told.try_recv() == Err(TryRecvError::Empty) {
                renameat_with(CWD, work, CWD, link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let mut started = 0;
        for _ in 0..ATTEMPTS {
            if fixture.start().code() == Some(0) {
                let cwd = fs::read_link(format!("/proc/{}/cwd", fixture.pid().unwrap())).unwrap();
                assert!(cwd.starts_with(&dir), "{cwd:?}");
                fixture.stop().expect(0, "Stopping example ... OK\n", "");
                started += 1;
            }
        }
        drop(going_on);
        started
    });
    assert!(started > 0, "nothing has been tried");
}

/// What the enemy puts in the place of the PID file when that has gone is not what was stopped, though it
/// may have got the same inode number.
#[test]
fn a_file_that_comes_after_the_pid_file_is_no_failure_of_the_stop() {
    if skip_unless_root("a_file_that_comes_after_the_pid_file_is_no_failure_of_the_stop") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("sticky", 0o1777);
    let path = dir.join("example.pid");
    let fixture = sandbox.fixture("ready").set("pid_file", &path).unset("hook_log");
    thread::scope(|scope| {
        let (going_on, told) = mpsc::channel::<()>();
        let (path, (want, wanted)) = (&path, mpsc::channel::<()>());
        scope.spawn(move || {
            while wanted.recv().is_ok() {
                loop {
                    if File::create_new(path).is_ok() {
                        chown(path, Some(ENEMY), Some(ENEMY)).unwrap();
                        break;
                    }
                    if told.try_recv() != Err(TryRecvError::Empty) {
                        return;
                    }
                }
            }
        });
        for _ in 0..50 {
            fixture.started();
            want.send(()).unwrap();
            fixture.stop().expect(0, "Stopping example ... OK\n", "");
            eventually("he has put his file there", || path.exists());
            // It is his only when he has given it away.
            eventually("it is his", || path.metadata().unwrap().uid() == ENEMY);
            fs::remove_file(path).unwrap();
        }
        drop((going_on, want));
    });
}

/// What counts is the link whose owner was looked at.
#[test]
fn a_link_that_is_exchanged_leads_where_it_led() {
    let name = "a_link_that_is_exchanged_leads_where_it_led";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let (good, other) = (sandbox.make_dir("good", 0o755), sandbox.make_dir("other", 0o755));
    symlink(&good, sandbox.path("link")).unwrap();
    symlink(&other, sandbox.path("another")).unwrap();
    let fixture = sandbox.fixture("ready").set("pid_file", sandbox.path("link/example.pid"));
    let log = sandbox.path("calls").display().to_string();
    let trace = "trace=open,openat,lstat,newfstatat,statx,readlink,readlinkat";
    let slow = "inject=readlink,readlinkat:delay_enter=500ms";
    let strace = ["strace", "-f", "-o", &log, "-e", trace, "-e", slow];
    let start = fixture.run(&["start"]).under(&strace).spawn();
    eventually("the link has been looked at", || {
        sandbox.read("calls").contains("/link\"") || start.stderr().contains("strace: ")
    });
    if start.stderr().contains("strace: ") {
        return skip(name, &format!("strace cannot trace: {}", start.stderr().trim()));
    }
    fs::rename(sandbox.path("another"), sandbox.path("link")).unwrap();
    start.says("Starting example ... OK\n");
    assert!(good.join("example.pid").exists());
    let fixture = fixture.set("pid_file", good.join("example.pid"));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    start.finish();
}
