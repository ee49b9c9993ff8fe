//! Which descriptors a daemon has, and who else gets them: each is known by name, told from inside.

use std::collections::BTreeSet;
use std::fs;

use daemonocle_tests::{Fixture, Pid, Sandbox, access, descriptors, eventually, reloaded, stat};

const OK: &str = "Starting example ... OK\n";

/// Descriptors of a process by what they are, sorted.
type Kinds = Vec<&'static str>;

/// The library's own in a daemon that runs: its PID file, which it locks, by the directory that it is in;
/// the signs on that directory and the root directory; what tells the worker of the end; the pipe that its
/// handlers of signals write to.
const RUNNING: [&str; 7] = [
    "PID file",
    "directory, by path",
    "shutdown handle",
    "sign on the directory",
    "sign on the root directory",
    "pipe, reading",
    "pipe, writing",
];

/// What leads to no lock and to nobody who waits for its end. A child that is forked without exec keeps it.
const HARMLESS: [&str; 3] = ["shutdown handle", "pipe, reading", "pipe, writing"];

/// Those of the lists that are meant, and others.
fn and(list: &[&'static str], more: &[&'static str]) -> Kinds {
    let mut kinds = [list, more].concat();
    kinds.sort_unstable();
    kinds
}

/// What whoever runs the tests has left open goes on to everybody: numbers and targets.
fn inherited() -> BTreeSet<(i32, String)> {
    let goes_on = |number: &i32| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
        i32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & libc::O_CLOEXEC == 0)
    };
    let ours = descriptors(std::process::id().cast_signed());
    ours.into_iter().filter(|(number, _)| *number > 2 && goes_on(number)).collect()
}

/// What is in a list of the worker `lists`, without the standard streams.
#[track_caller]
fn listed(fixture: &Fixture<'_>, name: &str) -> Kinds {
    let list = fixture.sandbox().read(&format!("out/{name}"));
    let (inherited, mut streams, mut kinds) = (inherited(), 0, Vec::new());
    for line in list.lines() {
        let [number, access, target] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?}");
        };
        let number: i32 = number.parse().unwrap();
        streams += i32::from(number <= 2);
        if number > 2 && !inherited.contains(&(number, target.to_owned())) {
            kinds.push(kind(fixture, access, target).unwrap_or_else(|| panic!("{name}: {line:?}")));
        }
    }
    assert_eq!(streams, 3, "{name}: {list}");
    kinds.sort_unstable();
    kinds
}

/// What leads there; `None`: nothing that is known.
fn kind(fixture: &Fixture<'_>, access: &str, target: &str) -> Option<&'static str> {
    let path = fixture.pid_file();
    let is = |path: Option<&std::path::Path>| path.is_some_and(|path| path == target);
    Some(match access {
        "rw" if is(Some(&path)) => "PID file",
        "path" if is(path.parent()) => "directory, by path",
        "r" if is(path.parent()) => "sign on the directory",
        "r" if target == "/" => "sign on the root directory",
        "rw" if target == "anon_inode:[eventfd]" => "shutdown handle",
        "rw" if target.starts_with("socket:") => "channel",
        "r" if target.starts_with("pipe:") => "pipe, reading",
        "w" if target.starts_with("pipe:") => "pipe, writing",
        "r" | "w" | "rw" if target == "/dev/null" => "null device",
        _ => return None,
    })
}

/// The worker `lists`, which begins when the FIFO `trigger` is opened.
fn lists(sandbox: &Sandbox) -> Fixture<'_> {
    let trigger = sandbox.make_fifo("trigger");
    let out = sandbox.make_dir("out", 0o755);
    sandbox.fixture("lists").set("on_hup", "yes").set("trigger", trigger).set("out", out)
}

/// Lets it list, and looks at the lists: of the worker, of a program of its and of a forked child.
#[track_caller]
fn expect(fixture: &Fixture<'_>, worker: &[&'static str], forked: &[&'static str]) {
    let sandbox = fixture.sandbox();
    fs::write(sandbox.path("trigger"), "").unwrap();
    eventually("it has listed all", || sandbox.path("out/done").exists());
    assert_eq!(listed(fixture, "worker"), and(worker, &[]));
    assert_eq!(listed(fixture, "forked"), and(forked, &[]));
    assert_eq!(listed(fixture, "program"), Kinds::new());
    fs::remove_file(sandbox.path("out/done")).unwrap();
}

/// Waits until the start or the reload that has made it is over for the daemon as well.
#[track_caller]
fn settle(pid: Pid) {
    eventually("it has let go of who has started it", || {
        let open = descriptors(pid);
        open[&2] == "/dev/null" && !open.values().any(|target| target.starts_with("socket:"))
    });
}

#[test]
fn in_the_background_and_after_a_reload() {
    let sandbox = Sandbox::new();
    let fixture = lists(&sandbox);
    settle(fixture.started());
    expect(&fixture, &RUNNING, &HARMLESS);
    settle(reloaded(&fixture));
    expect(&fixture, &RUNNING, &HARMLESS);
}

#[test]
fn in_the_foreground_and_after_a_reload() {
    let sandbox = Sandbox::new();
    let fixture = lists(&sandbox);
    let running = fixture.foreground();
    running.says(OK);
    fixture.settled();
    // There is a parent to be told of the end, and only by the daemon itself.
    expect(&fixture, &and(&RUNNING, &["channel"]), &HARMLESS);
    reloaded(&fixture);
    fixture.settled();
    expect(&fixture, &and(&RUNNING, &["channel"]), &HARMLESS);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    running.finish();
}

/// Standard error goes to whoever starts it, and to the null device when that is over.
#[test]
fn while_it_starts() {
    let sandbox = Sandbox::new();
    let fixture = lists(&sandbox).unset("trigger");
    fixture.started();
    let starting = and(&RUNNING, &["channel", "null device", "pipe, reading"]);
    assert_eq!(listed(&fixture, "worker"), starting);
    assert_eq!(listed(&fixture, "forked"), and(&HARMLESS, &["null device"]));
    assert_eq!(listed(&fixture, "program"), Kinds::new());
}

#[test]
fn without_a_pid_file() {
    let sandbox = Sandbox::new();
    let fixture = lists(&sandbox).unset("on_hup");
    let running = fixture.clone().unset("pid_file").foreground();
    running.says(OK);
    expect(&fixture, &and(&HARMLESS, &["channel"]), &HARMLESS);
    sandbox.signal(running.pid(), rustix::process::Signal::TERM);
    running.finish();
}

/// A program as the worker gets nothing, and its keeper has what any daemon has.
#[test]
fn of_a_program_and_its_keeper() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("none").set("exec", "sleep\n3600");
    let background = fixture.started();
    // It reads what the program writes to the standard error that the start has given it.
    expect_program(&fixture, background, &and(&RUNNING, &["pipe, reading", "null device"]));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    let running = fixture.foreground();
    running.says(OK);
    expect_program(&fixture, fixture.settled(), &and(&RUNNING, &["channel"]));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    running.finish();
}

#[track_caller]
fn expect_program(fixture: &Fixture<'_>, program: Pid, keeper: &[&'static str]) {
    let inherited = inherited();
    let beyond = |pid| {
        let mut open = descriptors(pid);
        open.retain(|number, target| {
            *number > 2 && !inherited.contains(&(*number, target.clone()))
        });
        open
    };
    eventually("it is the program", || {
        fs::read(format!("/proc/{program}/comm")).is_ok_and(|name| name == b"sleep\n")
    });
    eventually("the program has nothing", || beyond(program).is_empty());
    let parent = stat(program).unwrap().parent;
    let last = || {
        let open = beyond(parent);
        let kinds = open.iter().map(|(number, target)| {
            kind(fixture, access(parent, *number).unwrap_or_default(), target)
                .unwrap_or_else(|| panic!("{target:?}"))
        });
        and(&kinds.collect::<Vec<_>>(), &[])
    };
    eventually("the start is over for the keeper", || last() == and(keeper, &[]));
}
