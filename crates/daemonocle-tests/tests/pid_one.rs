//! As PID 1 of a container: in the foreground, with the duties of an init.

use std::fs;
use std::path::PathBuf;

use daemonocle_tests::{
    Calls, Fixture, Pid, Running, Sandbox, eventually, is_alive, skip, skip_unless_root,
    skip_unless_there_is, stat,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const GONE: &str = "All children are gone. Parent is exiting...\n";

/// `start` as PID 1 of a PID namespace, and what it is and has made, by the numbers outside.
struct First {
    outer: Running,
    init: Pid,
    daemon: Pid,
}

impl First {
    #[track_caller]
    fn of(fixture: &Fixture<'_>, name: &str) -> Option<Self> {
        if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
            return None;
        }
        let wrapper = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
        let mut outer = fixture.run(&["start"]).under(&wrapper).spawn();
        eventually("it says that it runs, or why not", || {
            outer.stdout().contains(OK) || (!outer.is_running() && !outer.stderr().is_empty())
        });
        if outer.stderr().contains("unshare: ") {
            skip(name, "no PID namespaces");
            return None;
        }
        // It has said so before the worker runs; a second start waits for the end of the first.
        fixture.settled();
        let child = |parent| {
            let processes = fixture.sandbox().survivors().into_iter();
            processes.filter_map(stat).find(|stat| stat.parent == parent).map(|stat| stat.pid)
        };
        let init = child(outer.pid()).expect("PID 1 is there");
        let daemon = child(init).expect("the daemon is its child");
        Some(Self { outer, init, daemon })
    }

    /// The processes in the namespace, by their numbers in it, with their states.
    fn processes(&self) -> Vec<(Pid, char)> {
        let root = PathBuf::from(format!("/proc/{}/root", self.init));
        let entries = fs::read_dir(root.join("proc")).unwrap();
        let stat = |entry: fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, text.rsplit_once(") ")?.1.chars().next()?))
        };
        entries.flatten().filter_map(stat).collect()
    }
}

#[test]
fn it_does_not_detach() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    let Some(mut first) = First::of(&fixture, "it_does_not_detach") else {
        return;
    };
    assert_eq!(stat(first.daemon).unwrap().session, stat(first.init).unwrap().session);
    let mut pids: Vec<_> = first.processes().into_iter().map(|(pid, _)| pid).collect();
    pids.sort_unstable();
    assert_eq!(pids, [1, fixture.pid().unwrap()]);
    assert!(first.outer.is_running());
}

#[test]
fn it_ends_at_once_when_it_is_asked_to() {
    let name = "it_ends_at_once_when_it_is_asked_to";
    for (worker, code) in [("ready", 143), ("polite", 0)] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture(worker);
        let Some(first) = First::of(&fixture, name) else {
            return;
        };
        sandbox.signal(first.init, Signal::TERM);
        let said = format!("{OK}Received signal SIGTERM (15). Forwarding to child...\n{GONE}");
        first.outer.finish().expect(code, &said, "");
        assert_eq!(fixture.hook_log(), format!("{code}|Terminated by SIGTERM (15)\n"));
        assert!(!is_alive(first.daemon));
        assert!(!fixture.pid_file().exists());
    }
}

/// `docker stop` waits for PID 1 alone, and kills what is left with it.
#[test]
fn its_end_does_not_wait_for_strangers() {
    let name = "its_end_does_not_wait_for_strangers";
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-waits").set("fifo", sandbox.make_fifo("fifo"));
    let Some(first) = First::of(&fixture, name) else {
        return;
    };
    assert_eq!(first.processes().len(), 3);
    sandbox.signal(first.init, Signal::TERM);
    let said = format!("{OK}Received signal SIGTERM (15). Forwarding to child...\n{GONE}");
    first.outer.finish().expect(0, &said, "");
    sandbox.expect_nobody();
}

#[test]
fn it_buries_orphans_of_every_group() {
    let name = "it_buries_orphans_of_every_group";
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = sandbox.fixture("child-orphan").set("fifo", &fifo);
    let Some(first) = First::of(&fixture, name) else {
        return;
    };
    let is_orphan = |pid: &Pid| {
        stat(*pid).is_some_and(|stat| {
            stat.parent == first.init && stat.session != stat_of(first.init).session
        })
    };
    let mut orphan = None;
    eventually("PID 1 has adopted the orphan", || {
        orphan = sandbox.survivors().into_iter().find(is_orphan);
        orphan.is_some()
    });
    fs::write(&fifo, "go\n").unwrap();
    eventually("it is gone, and not a zombie", || stat(orphan.unwrap()).is_none());
    assert_eq!(first.processes().len(), 2, "{:?}", first.processes());
    assert!(is_alive(first.daemon));
    sandbox.signal(first.init, Signal::TERM);
    assert_eq!(first.outer.finish().code(), Some(0));
}

#[track_caller]
fn stat_of(pid: Pid) -> daemonocle_tests::Stat {
    stat(pid).unwrap()
}

#[test]
fn it_makes_no_system_calls_when_there_is_nothing_to_do() {
    let name = "it_makes_no_system_calls_when_there_is_nothing_to_do";
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let Some(first) = First::of(&fixture, name) else {
        return;
    };
    let Some(calls) = Calls::of(&[first.init, first.daemon], &fixture, name) else {
        return;
    };
    assert!(calls.made.is_empty(), "{calls:?}");
    assert!(calls.threads >= 3, "strace has seen all three threads: {calls:?}");
}
