//! The disk with the PID file runs full, or can only be read any more, while a daemon runs.

use std::path::PathBuf;

use daemonocle_tests::{
    Fixture, Output, Pid, Running, Sandbox, eventually, is_alive, skip, skip_unless_root,
    skip_unless_there_is,
};

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const FAILED: &str = "Starting example ... FAILED\n";

/// A small disk, in a mount namespace of its own, and a daemon whose PID file is on it.
struct Disk<'a> {
    fixture: Fixture<'a>,
    /// Who keeps the namespace.
    keeper: Running,
}

impl<'a> Disk<'a> {
    /// `None`: that cannot be had here, and has been said of the test with this name.
    fn new(sandbox: &'a Sandbox, name: &str) -> Option<Self> {
        if skip_unless_root(name)
            || skip_unless_there_is("unshare", name)
            || skip_unless_there_is("nsenter", name)
        {
            return None;
        }
        let dir = sandbox.make_dir("disk", 0o755);
        let fixture = sandbox.fixture("ready").set("on_hup", "yes");
        let fixture = fixture.set("pid_file", dir.join("example.pid"));
        let script = format!(
            "mount -t tmpfs -o size=16k none {} && echo mounted && exec sleep 3600",
            dir.display()
        );
        let mut keeper = fixture.watch(&["unshare", "--mount", "sh", "-c", &script]).spawn();
        eventually("it is mounted, or not", || {
            keeper.stdout().contains("mounted") || !keeper.is_running()
        });
        if !keeper.is_running() {
            skip(name, "no mount namespaces");
            return None;
        }
        Some(Self { fixture, keeper })
    }

    fn enter(&self) -> [String; 4] {
        let pid = self.keeper.pid().to_string();
        ["nsenter".into(), "--mount".into(), "--target".into(), pid]
    }

    #[track_caller]
    fn run(&self, action: &str) -> Output {
        let enter = self.enter();
        let words: Vec<_> = enter.iter().map(String::as_str).collect();
        self.fixture.run(&[action]).under(&words).finish()
    }

    /// Does something on the disk.
    #[track_caller]
    fn shell(&self, script: &str) -> Output {
        let dir = self.fixture.sandbox().path("disk");
        let script = format!("cd {}; {script}", dir.display());
        let enter = self.enter();
        let words: Vec<_> = enter.iter().map(String::as_str).collect();
        self.fixture.watch(&[&words[..], &["sh", "-c", &script]].concat()).finish()
    }

    /// Leaves no room on it.
    #[track_caller]
    fn fill(&self) {
        let output = self.shell("cat /dev/zero >> fill");
        assert!(output.stderr.contains("No space left on device"), "{output:?}");
    }

    #[track_caller]
    fn make_read_only(&self) {
        // What is open for writing keeps the file system itself from it.
        let bind = "mount --bind \"$PWD\" \"$PWD\" && mount -o remount,bind,ro \"$PWD\"";
        self.shell(bind).expect(0, "", "");
    }

    /// What the PID file says; `None`: there is none.
    fn text(&self) -> Option<String> {
        let mut path = PathBuf::from(format!("/proc/{}/root", self.keeper.pid()));
        path.push(self.fixture.pid_file().strip_prefix("/").unwrap());
        std::fs::read_to_string(path).ok()
    }

    /// The daemon, by the PID file and by who is there.
    #[track_caller]
    fn daemon(&self) -> Pid {
        let text = self.text().expect("there is a PID file");
        let pid = text.trim_end().parse().unwrap();
        let is_alone = || {
            let mut survivors = self.fixture.sandbox().survivors();
            survivors.retain(|pid| *pid != self.keeper.pid());
            survivors == [pid]
        };
        eventually("the one in the PID file is the only one", is_alone);
        pid
    }

    #[track_caller]
    fn expect_running(&self, pid: Pid) {
        let status = self.run("status");
        assert_eq!(status.code(), Some(0), "{status:?}");
        assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
        assert_eq!(self.daemon(), pid);
    }

    #[track_caller]
    fn expect_nobody(&self) {
        self.run("status").expect(1, "example -- not running\n", "");
        self.run("stop").expect(0, "", "WARNING: example is not running\n");
        assert_eq!(self.text(), None);
        assert_eq!(self.fixture.sandbox().survivors(), [self.keeper.pid()]);
    }

    /// Reloads, and gives the new daemon.
    #[track_caller]
    fn reload(&self, old: Pid) -> Pid {
        self.run("reload").expect(0, "Reloading example ... OK\n", "");
        let new = self.daemon();
        assert!(new != old && !is_alive(old));
        new
    }
}

#[test]
fn full() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::new(&sandbox, "full") else { return };
    disk.run("start").expect(0, OK, "");
    let first = disk.daemon();
    disk.fill();
    disk.expect_running(first);
    let second = disk.reload(first);
    disk.expect_running(second);
    // The room that one file leaves is enough for the next.
    disk.run("restart").expect(0, &format!("{STOPPED}{OK}"), "");
    let third = disk.daemon();
    assert!(third != second && !is_alive(second));
    disk.expect_running(third);
    disk.run("stop").expect(0, STOPPED, "");
    assert!(!is_alive(third));
    disk.expect_nobody();
}

#[test]
fn a_start_where_there_is_no_room_leaves_nothing() {
    let sandbox = Sandbox::new();
    let name = "a_start_where_there_is_no_room_leaves_nothing";
    let Some(disk) = Disk::new(&sandbox, name) else { return };
    disk.fill();
    let path = disk.fixture.pid_file();
    let text = format!("ERROR: cannot write PID file {path:?}: No space left on device\n");
    for action in ["start", "restart"] {
        let output = disk.run(action);
        output.expect_error(1, FAILED, &[&text]);
        disk.expect_nobody();
    }
    // Left by one that was killed, and with room for no more than it has.
    disk.shell("rm fill; echo 1234567 > example.pid").expect(0, "", "");
    disk.fill();
    disk.run("start").expect(0, OK, "");
    let pid = disk.daemon();
    disk.expect_running(pid);
}

#[test]
fn read_only() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::new(&sandbox, "read_only") else { return };
    disk.run("start").expect(0, OK, "");
    let first = disk.daemon();
    disk.make_read_only();
    disk.expect_running(first);
    let second = disk.reload(first);
    disk.expect_running(second);
    let path = disk.fixture.pid_file();
    let text = format!("ERROR: cannot create PID file {path:?}: Read-only file system\n");
    disk.run("restart").expect(1, &format!("{STOPPED}{FAILED}"), &text);
    assert!(!is_alive(second));
    disk.expect_nobody();
}

#[test]
fn read_only_and_stopped() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::new(&sandbox, "read_only_and_stopped") else { return };
    disk.run("start").expect(0, OK, "");
    let pid = disk.daemon();
    disk.make_read_only();
    disk.run("stop").expect(0, STOPPED, "");
    assert!(!is_alive(pid));
    disk.expect_nobody();
}

/// What a daemon that was killed has left cannot be removed, and means nothing.
#[test]
fn read_only_and_killed() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::new(&sandbox, "read_only_and_killed") else { return };
    disk.run("start").expect(0, OK, "");
    let pid = disk.daemon();
    disk.make_read_only();
    sandbox.kill(pid);
    disk.run("status").expect(1, "example -- not running\n", "");
    disk.run("reload").expect(1, "", "WARNING: example is not running\n");
    let path = disk.fixture.pid_file();
    let text = format!("ERROR: cannot open PID file {path:?}: Read-only file system\n");
    for (action, stdout) in [("stop", ""), ("restart", ""), ("start", FAILED)] {
        disk.run(action).expect(1, stdout, &text);
    }
    assert_eq!(disk.text(), Some(format!("{pid}\n")));
    assert_eq!(sandbox.survivors(), [disk.keeper.pid()]);
}
