//! What a daemon's process looks like, seen from outside by proc(5).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use daemonocle_tests::{
    Fixture, Pid, Sandbox, Terminal, descriptors, eventually, is_alive, limit, skip,
    skip_unless_root, stat, status_field,
};

const OK: &str = "Starting example ... OK\n";

fn link(pid: Pid, name: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/{name}")).unwrap()
}

#[test]
fn session_group_and_terminal() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let daemon = stat(pid).unwrap();
    let caller = stat(std::process::id().cast_signed()).unwrap();
    assert_ne!(daemon.session, caller.session);
    assert_ne!(daemon.session, pid, "a session leader could get a terminal again");
    assert!(!is_alive(daemon.session), "the leader is gone");
    assert_eq!(daemon.group, pid, "a group of its own");
    assert_eq!(daemon.terminal, 0);
    assert!(!sandbox.survivors().contains(&daemon.parent), "nobody of ours waits for it");
}

#[test]
fn a_daemon_outlives_the_terminal_it_was_started_from() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let mut terminal = Terminal::of(fixture.run(&["start"]).through("\"$@\"; echo done; read x"));
    terminal.shows("done");
    let pid = fixture.pid().unwrap();
    assert_eq!(stat(pid).unwrap().terminal, 0);
    terminal.types("\n");
    assert_eq!(terminal.finish(), (Some(0), None));
    drop(terminal);
    assert!(is_alive(pid));
    assert_eq!(fixture.hook_log(), "");
}

#[test]
fn umask() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let run = fixture.run(&["start"]).through("umask 077; exec \"$@\"");
    run.finish().expect(0, OK, "");
    assert_eq!(status_field(fixture.pid().unwrap(), "Umask"), "0022", "not the caller's");
    fixture.stop();
    let fixture = fixture.set("umask", "027").set("stdout", sandbox.path("out"));
    let pid = fixture.started();
    assert_eq!(status_field(pid, "Umask"), "0027");
    for name in ["out", "example.pid"] {
        let mode = sandbox.path(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640, "{name}");
    }
}

#[test]
fn working_directory() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let run = fixture.run(&["start"]).current_dir(sandbox.dir());
    run.finish().expect(0, OK, "");
    assert_eq!(link(fixture.pid().unwrap(), "cwd"), PathBuf::from("/"));
    fixture.stop();
    let dir = sandbox.make_dir("work", 0o755);
    let pid = fixture.set("work_dir", &dir).started();
    assert_eq!(link(pid, "cwd"), dir);
}

#[test]
fn standard_streams() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    eventually("standard error is released", || descriptors(pid)[&2] == "/dev/null");
    for number in 0..=1 {
        assert_eq!(descriptors(pid)[&number], "/dev/null", "{number}");
    }
    fixture.stop();
    let (out, err) = (sandbox.path("out"), sandbox.path("err"));
    let pid = fixture.set("stdout", &out).set("stderr", &err).started();
    let open = descriptors(pid);
    let wanted = ["/dev/null", out.to_str().unwrap(), err.to_str().unwrap()];
    assert_eq!([&open[&0], &open[&1], &open[&2]], wanted);
}

#[test]
fn nothing_of_the_start_stays_open() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").unset("stderr");
    let pid = fixture.started();
    let remains = |pid| {
        let mut open = descriptors(pid);
        open.retain(|number, _| *number > 2);
        open
    };
    eventually("the channel of the start is closed", || {
        !remains(pid).values().any(|target| target.starts_with("socket:"))
    });
    let path = sandbox.path("example.pid").display().to_string();
    assert_eq!(remains(pid).values().filter(|target| **target == path).count(), 1);
}

/// The descriptors of a program that the worker runs, once it is asleep: while it begins, it has
/// files of its own open.
fn descriptors_of_child(fixture: &Fixture<'_>) -> std::collections::BTreeMap<i32, String> {
    let sandbox = fixture.sandbox();
    fixture.clone().set("child_pid", sandbox.path("child")).started();
    let child: Pid = sandbox.read("child").parse().unwrap();
    eventually("the child runs its program", || {
        let program = fs::read_to_string(format!("/proc/{child}/comm"));
        // The number of the system call it is in, of clock_nanosleep(2) here.
        let call = fs::read_to_string(format!("/proc/{child}/syscall"));
        let sleeps = format!("{} ", libc::SYS_clock_nanosleep);
        program.is_ok_and(|name| name == "sleep\n")
            && call.is_ok_and(|call| call.starts_with(&sleeps))
    });
    descriptors(child)
}

#[test]
fn programs_that_the_worker_runs_get_nothing_of_the_librarys() {
    let sandbox = Sandbox::new();
    let mut open = descriptors_of_child(&sandbox.fixture("child-sleep"));
    // What whoever runs the tests leaves open goes on to everybody.
    let ours: Vec<_> = descriptors(std::process::id().cast_signed()).into_values().collect();
    open.retain(|number, target| *number > 2 && !ours.contains(target));
    assert!(open.is_empty(), "{open:?}");
    let sandbox = Sandbox::new();
    let open = descriptors_of_child(&sandbox.fixture("child-sleep").set("close", "1"));
    assert_eq!(open.into_keys().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn open_files_stay_or_go_as_defined() {
    for (close, stays) in [(false, true), (true, false)] {
        let sandbox = Sandbox::new();
        let mut fixture = sandbox.fixture("ready").set("before", "open");
        if close {
            fixture = fixture.set("close", "1");
        }
        let pid = fixture.started();
        let open = descriptors(pid);
        assert_eq!(open.contains_key(&50), stays, "{open:?}");
        assert_eq!(open.contains_key(&51), stays, "{open:?}");
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        assert!(!is_alive(pid), "signals, lock and clean-up still work");
        assert!(!sandbox.path("example.pid").exists());
    }
}

/// As in a container of another age, whose filter does not know the call.
#[test]
fn open_files_go_without_close_range_too() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("before", "no-close-range").set("close", "1");
    let file = sandbox.write("file", "").display().to_string();
    let script = format!("exec 5< '{file}' 9< '{file}'; exec \"$@\"");
    fixture.run(&["start"]).through(&script).finish().expect(0, OK, "");
    let pid = fixture.pid().unwrap();
    let open = descriptors(pid);
    // The numbers may be the library's now.
    assert!(!open.values().any(|target| *target == file), "{open:?}");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid), "signals, lock and clean-up still work");
    assert!(!sandbox.path("example.pid").exists());
}

/// The sets of signals of a process as numbers.
fn signals(pid: Pid, set: &str) -> u64 {
    u64::from_str_radix(&status_field(pid, set), 16).unwrap()
}

/// The ignored signals, without the two that belong to the C library.
fn ignored(pid: Pid) -> u64 {
    signals(pid, "SigIgn") & !(0b11 << (32 - 1))
}

const PIPE: u64 = 1 << (libc::SIGPIPE - 1);

#[test]
fn ignored_signals_are_not_inherited() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-sleep").set("child_pid", sandbox.path("child"));
    let run = fixture.run(&["start"]).through("trap '' TERM INT HUP QUIT USR1 CHLD; exec \"$@\"");
    run.finish().expect(0, OK, "");
    let pid = fixture.pid().unwrap();
    assert_eq!(ignored(pid), PIPE, "Rust's own");
    let child = sandbox.read("child").parse().unwrap();
    assert_eq!(ignored(child), 0);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
}

#[test]
fn blocked_signals_are_not_inherited() {
    let name = "blocked_signals_are_not_inherited";
    let probe = std::process::Command::new("env").args(["--block-signal=TERM", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return skip(name, "needs an env that knows --block-signal");
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let run = fixture.run(&["start"]).under(&["env", "--block-signal"]);
    run.finish().expect(0, OK, "");
    let pid = fixture.pid().unwrap();
    assert_eq!(signals(pid, "SigBlk"), 0);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
}

#[test]
fn nohup_makes_no_difference() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    fixture.run(&["start"]).under(&["nohup"]).finish();
    let pid = fixture.pid().unwrap();
    sandbox.signal(pid, rustix::process::Signal::HUP);
    eventually("it has ended", || !is_alive(pid));
    assert_eq!(fixture.hook_log(), "129|Terminated by SIGHUP (1)\n");
}

#[test]
fn core_dumps() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let what = "Max core file size";
    let pid = fixture.started();
    assert_eq!(limit(pid, what), "0");
    fixture.stop();
    let ours = limit(std::process::id().cast_signed(), what);
    let pid = fixture.set("core", "1").started();
    assert_eq!(limit(pid, what), ours);
    if ours == "0" {
        skip("core_dumps", "the limit of the tests is 0 already, so that only half is tested");
    }
}

#[test]
fn closed_streams_of_the_caller_are_survived() {
    for closed in ["<&- >&- 2>&-", "<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- 2>&-"] {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("print").set("stdout", sandbox.path("out"));
        let run = fixture.run(&["start"]).through(&format!("exec \"$@\" {closed}"));
        let output = run.finish();
        assert_eq!(output.code(), Some(0), "{closed}: {output:?}");
        let pid = fixture.pid().unwrap_or_else(|| panic!("{closed}: no PID"));
        assert_eq!(sandbox.survivors(), [pid], "{closed}");
        assert_eq!(sandbox.read("out"), "out\n", "{closed}");
        eventually("standard error is released", || descriptors(pid)[&2] == "/dev/null");
        assert_eq!(descriptors(pid)[&0], "/dev/null", "{closed}");
        let stop = fixture.run(&["stop"]).through(&format!("exec \"$@\" {closed}")).finish();
        assert_eq!(stop.code(), Some(0), "{closed}: {stop:?}");
        assert!(!is_alive(pid), "{closed}");
    }
}

#[test]
fn a_failure_with_closed_streams_has_its_exit_code() {
    let sandbox = Sandbox::new();
    let run = sandbox.fixture("end-complaint").run(&["start"]);
    let output = run.through("exec \"$@\" <&- >&- 2>&-").finish();
    assert_eq!(output.code(), Some(3), "{output:?}");
    sandbox.expect_nobody();
}

#[test]
fn change_of_root() {
    if skip_unless_root("change_of_root") {
        return;
    }
    let sandbox = Sandbox::new();
    let root = sandbox.make_dir("root", 0o755);
    // With a leading slash and without: below the new root in both cases.
    let fixture = sandbox
        .fixture("print")
        .unset("hook_log")
        .set("chroot", &root)
        .set("pid_file", "/run/example.pid")
        .set("stdout", "log/out")
        .set("work_dir", "/");
    fixture.start().expect(0, OK, "");
    let pid: Pid = sandbox.read("root/run/example.pid").trim().parse().unwrap();
    assert_eq!(link(pid, "root"), root);
    assert_eq!(link(pid, "cwd"), root);
    assert_eq!(sandbox.read("root/log/out"), "out\n");
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    assert!(!root.join("run/example.pid").exists());
}

#[test]
fn change_of_root_without_the_right_to() {
    let sandbox = Sandbox::new();
    let root = sandbox.make_dir("root", 0o755);
    let mut fixture = sandbox.fixture("ready").unset("pid_file").set("chroot", &root);
    let mut run = fixture.run(&["start"]);
    if daemonocle_tests::is_root() {
        fixture = fixture.for_everybody();
        run = fixture.run(&["start"]).as_user(12345, 12345);
    }
    let text =
        format!("ERROR: cannot change root directory to {root:?}: Operation not permitted\n");
    run.finish().expect(1, "Starting example ... FAILED\n", &text);
    sandbox.expect_nobody();
}

#[test]
fn a_socket_for_input_means_foreground() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let mut running = fixture.run(&["start"]).stdin(theirs.try_clone().unwrap()).spawn();
    running.says(OK);
    let pid = fixture.settled();
    assert_eq!(stat(pid).unwrap().parent, running.pid());
    assert!(running.is_running());
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    running.finish();
    let always = fixture.set("detach", "always");
    always.run(&["start"]).stdin(theirs).finish().expect(0, OK, "");
    let session = |pid| stat(pid).unwrap().session;
    assert_ne!(session(always.pid().unwrap()), session(std::process::id().cast_signed()));
}
