//! Where the PID files of many workers are: what is in the place of one, and two in the same place.

use std::fs;
use std::os::unix::fs::symlink;

use daemonocle::{Daemon, Multi, Workers};
use daemonocle_tests::{Fixture, Pid, Sandbox, is_alive, skip, skip_unless_there_is};
use serde_json::{Value, json};

/// So many workers, each with its PID file in a directory of its own.
fn workers(sandbox: &Sandbox, count: u32) -> Fixture<'_> {
    let fixture = sandbox.fixture("ready").set("multi", count.to_string()).unset("hook_log");
    fixture.set("name", "worker_{n}").set("pid_file", sandbox.path("d{n}/x.pid"))
}

fn pid(sandbox: &Sandbox, id: u32) -> Pid {
    sandbox.read(&format!("d{id}/x.pid")).trim().parse().unwrap()
}

/// Whoever asks for all finds each at the place of its number.
#[test]
fn one_whose_status_is_unknown_keeps_its_place() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 5);
    assert_eq!(fixture.start().code(), Some(0));
    assert_eq!(fixture.run(&["stop", "--worker-id", "3"]).finish().code(), Some(0));
    let place = sandbox.path("d3/x.pid");
    fs::create_dir(&place).unwrap();
    let why = format!("ERROR: worker_3: PID file {place:?} is a directory\n");
    for fields in [&[][..], &["--fields", "pid"]] {
        let output = fixture.run(&[&["status", "--json"], fields].concat()).finish();
        assert_eq!((output.code(), &*output.stderr), (Some(1), &*why));
        let list: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 5, "{list}");
        assert_eq!(list[3], json!({"name": "worker_3", "status": "unknown"}));
        assert_eq!(list[4]["pid"], pid(&sandbox, 4));
        let output = fixture.run(&[&["status"], fields].concat()).finish();
        assert_eq!((output.code(), &*output.stderr), (Some(1), &*why));
        assert_eq!(output.stdout.lines().nth(3), Some("worker_3 -- unknown"), "{output:?}");
    }
    let output = fixture.run(&["status", "--json", "--worker-id", "3"]).finish();
    let text = "[\n  {\"name\": \"worker_3\", \"status\": \"unknown\"}\n]\n";
    output.expect(1, text, &why.replace("worker_3: ", ""));
}

/// One process would be told of, and stopped, as several.
#[test]
fn two_in_the_same_place_are_refused_whatever_is_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.make_dir("d0", 0o755);
    symlink("d0", sandbox.path("d1")).unwrap();
    let fixture = workers(&sandbox, 3).set("on_hup", "yes").set("actions", "full_status");
    let run = |words: &[&str]| fixture.run(words).finish();
    assert_eq!(run(&["start", "--worker-id", "0"]).code(), Some(0));
    let first = pid(&sandbox, 0);
    let why = format!(
        "ERROR: PID files must be unique, and worker_0 and worker_1 both have {:?}\n",
        sandbox.path("d0/x.pid")
    );
    for words in [
        &["start"][..],
        &["stop"],
        &["restart"],
        &["reload"],
        &["full-status"],
        &["status"],
        &["status", "--json"],
        &["status", "--fields", "pid"],
    ] {
        run(words).expect(1, "", &why);
    }
    assert!(is_alive(first));
    assert_eq!(pid(&sandbox, 0), first);
    // One can be meant, whoever else would be there.
    run(&["stop", "--worker-id", "1"]).expect(0, "Stopping worker_1 ... OK\n", "");
    assert!(!is_alive(first));
}

/// Those that are asked one after the other are looked at before, too.
#[test]
fn a_program_is_told_of_two_in_the_same_place() {
    let sandbox = Sandbox::new();
    sandbox.make_dir("d0", 0o755);
    symlink("d0", sandbox.path("d1")).unwrap();
    let path = sandbox.path("d{n}/x.pid");
    let daemon = Daemon::new("worker_{n}").pid_file(path).reload_on_hup();
    let multi = Multi::new(2, daemon.action("own", "", |_| panic!("it is not done")));
    for action in ["stop", "status", "reload", "own"] {
        let error = multi.do_action(Workers::All, action).unwrap_err();
        assert!(error.is_definition(), "{action}: {error}");
        assert!(error.to_string().starts_with("PID files must be unique, "), "{action}: {error}");
    }
}

/// One whose file was deleted while it runs is found among many that are started, and all others are.
#[test]
fn one_that_has_lost_its_file_is_found_among_many() {
    for mode in [0o755, 0o700] {
        let sandbox = Sandbox::new();
        let run = sandbox.make_dir("run", mode);
        let fixture = workers(&sandbox, 3).set("pid_file", run.join("{n}.pid"));
        let pid = |id| sandbox.read(&format!("run/{id}.pid")).trim().parse::<Pid>().unwrap();
        fixture.run(&["start", "--worker-id", "1"]).finish().expect(0, &started(1, true), "");
        let lost = pid(1);
        fs::remove_file(run.join("1.pid")).unwrap();
        let status = fixture.status();
        assert!(status.stdout.contains(&format!("worker_1 -- pid: {lost}, ")), "{status:?}");
        let output = fixture.start();
        let why = format!("worker_1: already running with PID {lost}, but somebody has deleted");
        output.expect_error(1, &[0, 1, 2].map(|id| started(id, id != 1)).concat(), &[&why]);
        assert!(is_alive(pid(0)) && is_alive(pid(2)));
        fixture.stop().expect(0, &[0, 1, 2].map(stopped).concat(), "");
        assert!(!is_alive(lost));
        sandbox.expect_nobody();
    }
}

/// Where the signs do not tell, the list of all locks is read for all of them together: one by one, a
/// thousand would take seconds.
#[test]
fn the_list_of_locks_is_read_for_all_at_once() {
    const NAME: &str = "the_list_of_locks_is_read_for_all_at_once";
    /// As often as for a single one, if it is long, and who asks may not look at all processes.
    const READINGS: usize = 4 + 16;
    if skip_unless_there_is("strace", NAME) {
        return;
    }
    let sandbox = Sandbox::new();
    let run = sandbox.make_dir("run", 0o700);
    let fixture = workers(&sandbox, 10).set("pid_file", run.join("{n}.pid"));
    let calls = sandbox.path("calls");
    let strace = ["strace", "-qq", "-e", "trace=open,openat", "-o", calls.to_str().unwrap()];
    let ok = |line: &dyn Fn(u32) -> String| (0..10).map(line).collect::<String>();
    let not = |what: &str, end: &str| ok(&|id| format!("{what}worker_{id}{end}"));
    for (action, code, stdout, stderr) in [
        ("status", 1, not("", " -- not running\n"), String::new()),
        ("stop", 0, String::new(), not("WARNING: ", " is not running\n")),
        ("start", 0, ok(&|id| started(id, true)), String::new()),
    ] {
        let output = fixture.run(&[action]).under(&strace).finish();
        if output.stderr.contains("strace: ") {
            skip(NAME, "strace cannot trace");
            return;
        }
        output.expect(code, &stdout, &stderr);
        let readings = sandbox.read("calls").matches("/proc/locks").count();
        assert!((1..=READINGS).contains(&readings), "{action}: {readings}");
    }
    fixture.stop().expect(0, &ok(&stopped), "");
}

fn started(id: u32, is_ok: bool) -> String {
    format!("Starting worker_{id} ... {}\n", if is_ok { "OK" } else { "FAILED" })
}

fn stopped(id: u32) -> String {
    format!("Stopping worker_{id} ... OK\n")
}
