//! A start that says OK: the daemon runs, under the PID in the PID file, and is left alone.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use daemonocle_tests::{Sandbox, eventually, is_alive, skip_unless_root, stat, takes_less_than};

const OK: &str = "Starting example ... OK\n";

#[test]
fn a_stopped_child_of_the_worker_does_no_harm() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-stopped").set("child_pid", sandbox.path("child"));
    let pid = fixture.started();
    // The kernel has sent HUP, if it does, before the start was over.
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    assert_eq!(fixture.hook_log(), "");
}

#[test]
fn the_pid_file_names_the_running_daemon() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready").started();
    assert_eq!(sandbox.read("example.pid"), format!("{pid}\n"));
    assert_eq!(sandbox.survivors(), [pid], "one process, and the one that was named");
    let mode = sandbox.path("example.pid").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
}

#[test]
fn ready_releases_the_start_before_the_second_is_over() {
    assert!(takes_less_than(Duration::from_secs(1), || {
        Sandbox::new().fixture("ready").started();
    }));
}

#[test]
fn a_worker_that_never_says_ready_counts_after_one_second() {
    let sandbox = Sandbox::new();
    let began = Instant::now();
    let pid = sandbox.fixture("sleep").started();
    let took = began.elapsed();
    assert!(Duration::from_secs(1) <= took, "{took:?}");
    assert!(is_alive(pid));
}

#[test]
fn ready_may_be_called_twice() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready-twice").started();
    assert!(is_alive(pid));
}

#[test]
fn a_ready_that_comes_in_time_is_enough() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready").set("ready", "9").started();
    assert!(is_alive(pid));
}

#[test]
fn a_daemon_needs_no_pid_file() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").unset("pid_file");
    fixture.start().expect(0, OK, "");
    assert_eq!(sandbox.survivors().len(), 1);
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn the_directory_of_the_pid_file_is_made() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("run/deep/example.pid");
    let fixture = sandbox.fixture("ready").set("pid_file", &path).set("umask", "027");
    let pid = fixture.started();
    assert!(is_alive(pid));
    for dir in ["run", "run/deep"] {
        let mode = sandbox.path(dir).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o750, "{dir}");
    }
}

#[test]
fn relative_paths_are_those_of_the_caller() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("print").set("pid_file", "here.pid").set("stdout", "here.out");
    fixture.run(&["start"]).current_dir(sandbox.dir()).finish().expect(0, OK, "");
    assert_eq!(sandbox.survivors().len(), 1);
    assert_eq!(sandbox.read("here.out"), "out\n");
    let pid: i32 = sandbox.read("here.pid").trim().parse().unwrap();
    assert!(is_alive(pid));
}

#[test]
fn a_child_of_the_worker_does_not_hold_the_start() {
    let sandbox = Sandbox::new();
    let note = sandbox.path("child");
    let pid = sandbox.fixture("child-sleep").set("child_pid", &note).started();
    let child: i32 = sandbox.read("child").parse().unwrap();
    assert!(is_alive(child));
    assert_eq!(stat(child).unwrap().parent, pid);
}

#[test]
fn a_child_may_write_to_standard_error_long_after_the_start() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    sandbox.fixture("child-writes").set("fifo", &fifo).started();
    std::fs::write(&fifo, "go\n").unwrap();
    eventually("the child says how its writing went", || sandbox.read("fifo.done") == "0\n");
}

#[test]
fn the_start_hook_runs_once_and_before_the_worker() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("start.log");
    let fixture = sandbox.fixture("ready").set("on_start", "log").set("start_log", &log);
    fixture.started();
    assert_eq!(sandbox.read("start.log"), "started\n");
    assert_eq!(fixture.start().code(), Some(0));
    assert_eq!(sandbox.read("start.log"), "started\n", "already running: no hook");
}

#[test]
fn output_files_are_appended_to() {
    let sandbox = Sandbox::new();
    let (out, err) = (sandbox.write("out", "old\n"), sandbox.path("logs/err"));
    let fixture = sandbox.fixture("print").set("stdout", &out).set("stderr", &err);
    fixture.started();
    assert_eq!(sandbox.read("out"), "old\nout\n");
    assert_eq!(sandbox.read("logs/err"), "err\n");
}

#[test]
fn both_streams_may_go_to_one_file() {
    let sandbox = Sandbox::new();
    let both = sandbox.path("both");
    let fixture = sandbox.fixture("print").set("stdout", &both).set("stderr", &both);
    fixture.started();
    assert_eq!(sandbox.read("both"), "out\nerr\n");
}

#[test]
fn what_a_successful_start_wrote_to_standard_error_is_not_shown() {
    let sandbox = Sandbox::new();
    sandbox.fixture("print").start().expect(0, OK, "");
}

#[test]
fn the_new_daemon_belongs_to_another_user_if_it_is_told_to() {
    if skip_unless_root("the_new_daemon_belongs_to_another_user_if_it_is_told_to") {
        return;
    }
    let sandbox = Sandbox::new();
    let run = sandbox.path("run/example.pid");
    let fixture = sandbox.fixture("ready").set("pid_file", &run).set("user", "nobody");
    let pid = fixture.unset("hook_log").started();
    let owner = daemonocle_tests::status_field(pid, "Uid");
    use std::os::unix::fs::MetadataExt;
    let dir = sandbox.path("run").metadata().unwrap();
    let uids: Vec<_> = owner.split_whitespace().collect();
    assert_eq!(uids, vec![dir.uid().to_string(); 4]);
    assert_ne!(dir.uid(), 0);
}
