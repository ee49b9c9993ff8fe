//! Many daemons as one: started, stopped and looked at together.

use std::fs;
use std::time::{Duration, Instant};

use daemonocle_tests::{
    DEADLINE, Fixture, Pid, Sandbox, descriptors, eventually, is_alive, limit, skip_unless_root,
    stat,
};
use rustix::process::Signal;

/// So many workers that do this.
fn workers<'a>(sandbox: &'a Sandbox, count: u32, worker: &str) -> Fixture<'a> {
    sandbox
        .fixture(worker)
        .set("multi", count.to_string())
        .set("name", "worker_{n}")
        .set("pid_file", sandbox.path("{n:03}.pid"))
        .unset("hook_log")
}

fn pid(sandbox: &Sandbox, id: u32) -> Option<Pid> {
    sandbox.read(&format!("{id:03}.pid")).strip_suffix('\n')?.parse().ok()
}

#[track_caller]
fn pids(sandbox: &Sandbox, count: u32) -> Vec<Pid> {
    (0..count).map(|id| pid(sandbox, id).expect("a PID in each PID file")).collect()
}

fn lines(verb: &str, ids: impl IntoIterator<Item = u32>) -> String {
    ids.into_iter().map(|id| format!("{verb} worker_{id} ... OK\n")).collect()
}

fn sorted(mut pids: Vec<Pid>) -> Vec<Pid> {
    pids.sort_unstable();
    pids
}

#[test]
fn all_are_started_and_stopped_each_with_a_line_of_its_own() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 5, "polite");
    fixture.start().expect(0, &lines("Starting", 0..5), "");
    let all = pids(&sandbox, 5);
    assert_eq!(sorted(all.clone()), sorted(sandbox.survivors()), "they, and nobody else");
    let told: String = (0..5)
        .zip(&all)
        .map(|(id, pid)| format!("WARNING: worker_{id} already running with PID {pid}\n"))
        .collect();
    fixture.start().expect(0, "", &told);
    fixture.stop().expect(0, &lines("Stopping", 0..5), "");
    assert!(sandbox.names().is_empty(), "{:?}", sandbox.names());
    sandbox.expect_nobody();
    let told: String = (0..5).map(|id| format!("WARNING: worker_{id} is not running\n")).collect();
    fixture.stop().expect(0, "", &told);
}

#[test]
fn each_leads_a_group_in_one_session_without_a_leader() {
    let sandbox = Sandbox::new();
    workers(&sandbox, 4, "ready").start().expect(0, &lines("Starting", 0..4), "");
    let stats: Vec<_> = pids(&sandbox, 4).into_iter().map(|pid| stat(pid).unwrap()).collect();
    for it in &stats {
        assert_eq!(it.group, it.pid);
        assert_eq!(it.session, stats[0].session);
        assert_eq!(it.terminal, 0);
    }
    assert!(!is_alive(stats[0].session), "the guardian has gone");
}

/// A file of another worker's that stays open would keep its claim when that is dead.
#[test]
fn none_has_anything_of_another_one() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 20, "ready");
    fixture.start().expect(0, &lines("Starting", 0..20), "");
    let all = pids(&sandbox, 20);
    for (id, pid) in all.iter().enumerate() {
        let open = descriptors(*pid);
        let files: Vec<_> = open.values().filter(|path| path.ends_with(".pid")).collect();
        assert_eq!(files, [&*sandbox.path(&format!("{id:03}.pid")).to_string_lossy()]);
        // It may not have closed its own channel yet.
        let has_socket = || descriptors(*pid).values().any(|path| path.starts_with("socket:"));
        eventually("there is no channel", || !has_socket());
    }
    // One that is killed can be started again at once, while the others live.
    sandbox.kill(all[7]);
    let output = fixture.run(&["start", "--worker-id", "7"]).finish();
    output.expect(0, "Starting worker_7 ... OK\n", "");
}

#[test]
fn one_can_be_meant_and_the_others_stay() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 3, "ready");
    let run = |action: &str| fixture.run(&[action, "--worker-id", "1"]).finish();
    run("start").expect(0, "Starting worker_1 ... OK\n", "");
    assert_eq!(sandbox.names(), ["001.pid"]);
    fixture.start().expect_error(
        0,
        "Starting worker_0 ... OK\nStarting worker_2 ... OK\n",
        &["WARNING: worker_1 already running with PID "],
    );
    let before = pids(&sandbox, 3);
    run("restart").expect(0, "Stopping worker_1 ... OK\nStarting worker_1 ... OK\n", "");
    run("stop").expect(0, "Stopping worker_1 ... OK\n", "");
    assert_eq!(sorted(sandbox.survivors()), sorted(vec![before[0], before[2]]));
    let lines = "Stopping worker_0 ... OK\nStopping worker_2 ... OK\n\
                 Starting worker_0 ... OK\nStarting worker_1 ... OK\nStarting worker_2 ... OK\n";
    fixture.restart().expect(0, lines, "WARNING: worker_1 is not running\n");
}

#[test]
fn one_that_fails_is_told_by_its_name_and_the_others_run() {
    for (odd, code, why) in [
        ("end-code", 42, "Child exited immediately with exit code 42\n"),
        ("end-kill", 137, "Child exited immediately with exit code 137: SIGKILL (9)\n"),
        ("end-panic", 101, "Child exited immediately with exit code 101: all cookies are gone\n"),
    ] {
        let sandbox = Sandbox::new();
        let fixture = workers(&sandbox, 4, "ready").set("odd", "2").set("odd_worker", odd);
        let output = fixture.start();
        let text = "Starting worker_0 ... OK\nStarting worker_1 ... OK\n\
                    Starting worker_2 ... FAILED\nStarting worker_3 ... OK\n";
        output.expect_error(code, text, &[&format!("ERROR: worker_2: {why}")]);
        assert_eq!(sandbox.names(), ["000.pid", "001.pid", "003.pid"]);
        assert_eq!(sandbox.survivors().len(), 3);
        let status = fixture.status();
        assert_eq!(status.code(), Some(1));
        assert!(status.stdout.contains("\nworker_2 -- not running\n"), "{status:?}");
    }
}

#[test]
fn one_that_is_not_ready_is_put_down_however_it_resists() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 3, "ready").set("odd", "0").set("odd_worker", "stubborn-sleep");
    let output = fixture.set("ready", "1").set("stop", "0.5").start();
    let text = "Starting worker_0 ... FAILED\nStarting worker_1 ... OK\nStarting worker_2 ... OK\n";
    let why = "ERROR: worker_0: Timed out: the daemon was not ready within 1s\n";
    output.expect(1, text, why);
    assert_eq!(sandbox.names(), ["001.pid", "002.pid"]);
    assert_eq!(sorted(pids_of(&sandbox, [1, 2])), sorted(sandbox.survivors()));
}

fn pids_of(sandbox: &Sandbox, ids: impl IntoIterator<Item = u32>) -> Vec<Pid> {
    ids.into_iter().filter_map(|id| pid(sandbox, id)).collect()
}

/// One that is ready early and dies while others come up has not been started.
#[test]
fn nobody_has_started_before_all_are_certain() {
    let sandbox = Sandbox::new();
    sandbox.make_fifo("fifo");
    let fixture = workers(&sandbox, 2, "ready").set("odd", "1").set("odd_worker", "sleep");
    let start = fixture.set("ready", "3").run(&["start"]).spawn();
    eventually("the first one is there", || pid(&sandbox, 0).is_some());
    sandbox.kill(pid(&sandbox, 0).unwrap());
    let output = start.finish();
    output.expect_error(
        137,
        "Starting worker_0 ... FAILED\nStarting worker_1 ... FAILED\n",
        &[
            "ERROR: worker_0: Child exited immediately with exit code 137",
            "ERROR: worker_1: Timed out",
        ],
    );
    sandbox.expect_nobody();
    assert_eq!(sandbox.names(), ["fifo"]);
}

#[test]
fn the_end_of_the_command_is_the_end_of_all() {
    for killed in [Signal::KILL, Signal::INT] {
        let sandbox = Sandbox::new();
        let fixture = workers(&sandbox, 6, "ready").set("odd", "5").set("odd_worker", "sleep");
        let start = fixture.set("ready", "60").run(&["start"]).spawn();
        eventually("all are there", || pids_of(&sandbox, 0..6).len() == 6);
        sandbox.signal(start.pid(), killed);
        start.finish();
        sandbox.expect_nobody();
        assert!(sandbox.names().is_empty(), "{:?}", sandbox.names());
        let again = workers(&sandbox, 6, "ready").start();
        again.expect(0, &lines("Starting", 0..6), "");
    }
}

#[test]
fn of_many_commands_one_starts_each_worker() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 8, "ready");
    let starts: Vec<_> = (0..8).map(|_| fixture.run(&["start"]).spawn()).collect();
    let outputs: Vec<_> = starts.into_iter().map(|start| start.finish()).collect();
    assert_eq!(sorted(pids(&sandbox, 8)), sorted(sandbox.survivors()));
    for id in 0..8 {
        let line = format!("Starting worker_{id} ... OK\n");
        let winners = outputs.iter().filter(|output| output.stdout.contains(&line)).count();
        assert_eq!(winners, 1, "{outputs:?}");
    }
    assert!(outputs.iter().all(|output| output.code() == Some(0)), "{outputs:?}");
}

#[test]
fn those_that_do_not_stop_are_told_and_not_started_again() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 3, "ready").set("odd", "1").set("odd_worker", "stubborn");
    fixture.start().expect(0, &lines("Starting", 0..3), "");
    let stubborn = pid(&sandbox, 1).unwrap();
    let why = |name| {
        format!("ERROR: {name}Timed out while waiting for process (PID {stubborn}) to terminate\n")
    };
    let output = fixture.run(&["restart", "--timeout", "1"]).finish();
    let text = "Stopping worker_0 ... OK\nStopping worker_1 ... FAILED\nStopping worker_2 ... OK\n\
                Starting worker_0 ... OK\nStarting worker_2 ... OK\n";
    output.expect(1, text, &why("worker_1: "));
    assert_eq!(pid(&sandbox, 1), Some(stubborn));
    let output = fixture.run(&["stop", "--timeout", "1", "--force"]).finish();
    let text = "Stopping worker_0 ... OK\nStopping worker_1 ... FAILED\nKilling worker_1 ... OK\n\
                Stopping worker_2 ... OK\n";
    output.expect(0, text, &why("worker_1: "));
    sandbox.expect_nobody();
    assert!(sandbox.names().is_empty(), "{:?}", sandbox.names());
}

/// One after the other, twelve of them would take twelve seconds, both to come up and to be given up.
#[test]
fn they_are_waited_for_together() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 12, "stubborn-sleep");
    let began = Instant::now();
    fixture.start().expect(0, &lines("Starting", 0..12), "");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(fixture.run(&["stop", "--timeout", "1", "--force"]).finish().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    sandbox.expect_nobody();
}

#[test]
fn states_come_in_one_list() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 12, "ready");
    fixture.start().expect(0, &lines("Starting", 0..12), "");
    let all = pids(&sandbox, 12);
    let began = Instant::now();
    let status = fixture.status();
    // A tenth of a second for each of them would be more.
    assert!(began.elapsed() < Duration::from_millis(1100), "{:?}", began.elapsed());
    assert_eq!(status.code(), Some(0));
    for (id, (line, pid)) in status.stdout.lines().zip(&all).enumerate() {
        let begin = format!("worker_{id} -- pid: {pid}, status: sleeping, uptime: ");
        assert!(line.starts_with(&begin), "{line}");
    }
    fixture.run(&["stop", "--worker-id", "3"]).finish();
    let output = fixture.run(&["status", "--json"]).finish();
    assert_eq!(output.code(), Some(1));
    let list: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(list[0]["pid"], all[0]);
    assert_eq!(list[3], serde_json::json!({"name": "worker_3", "status": "dead"}));
    assert_eq!(list.as_array().unwrap().len(), 12);
    let output = fixture.run(&["status", "--json", "--fields", "pid", "--worker-id", "4"]).finish();
    output.expect(0, &format!("[\n  {{\"pid\": {}}}\n]\n", all[4]), "");
}

#[test]
fn a_worker_knows_who_it_is() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("out");
    let fixture = workers(&sandbox, 3, "introduces-itself").set("out", out);
    fixture.start().expect(0, &lines("Starting", 0..3), "");
    let text = sandbox.read("out");
    let mut said: Vec<_> = text.lines().collect();
    said.sort_unstable();
    assert_eq!(said, ["Some(0) worker_0", "Some(1) worker_1", "Some(2) worker_2"]);
    let alone = sandbox.fixture("introduces-itself").set("out", sandbox.path("alone"));
    alone.started();
    assert_eq!(sandbox.read("alone"), "None example\n");
}

#[test]
fn only_the_worker_that_reloads_has_a_successor() {
    let sandbox = Sandbox::new();
    sandbox.make_fifo("fifo");
    for name in ["out", "plan"] {
        sandbox.write(name, "");
    }
    let fixture = workers(&sandbox, 3, "ready").set("odd", "1").set("odd_worker", "reloads");
    let names = ["fifo", "out", "plan"].into_iter();
    let fixture = names.fold(fixture, |fixture, name| fixture.set(name, sandbox.path(name)));
    fixture.start().expect(0, &lines("Starting", 0..3), "");
    let before = pids(&sandbox, 3);
    fs::write(sandbox.path("fifo"), "").unwrap();
    eventually("there is a new one", || pid(&sandbox, 1).is_some_and(|pid| pid != before[1]));
    eventually("the old one is gone", || !is_alive(before[1]));
    let told = fixture.start();
    assert_eq!((told.code(), &*told.stdout), (Some(0), ""), "{told:?}");
    let after = pids(&sandbox, 3);
    assert_eq!([after[0], after[2]], [before[0], before[2]]);
    assert_eq!(sorted(after), sorted(sandbox.survivors()));
    fixture.stop().expect(0, &lines("Stopping", 0..3), "");
}

#[test]
fn a_wrong_definition_starts_nobody() {
    let sandbox = Sandbox::new();
    let path = |name: &str| sandbox.path(name).display().to_string();
    for (count, item, value, why) in [
        (0, "multi", "0".to_owned(), "0 workers are not possible: there can be 1 to 65536"),
        (3, "name", "worker".into(), "name \"worker\" is that of all 3 workers"),
        (3, "name", "worker_{m}".into(), "name \"worker_{m}\": \"{m}\" makes no sense"),
        (3, "pid_file", path("x.pid"), "PID files must be unique, and "),
        (3, "pid_file", path("{n"), "\"{n\" makes no sense: use {n}, {n:4} or {n:04}"),
        (3, "pid_file", path("{n:300}"), "of a worker, in a width of 255 at most, "),
        (3, "stdout", path("}"), "\"}\" makes no sense"),
        (3, "work_dir", path("{n}"), "worker_0: working directory "),
        (
            3,
            "pid_file",
            path("d{n}/../x.pid"),
            "PID files must be unique, and worker_0 and worker_1",
        ),
    ] {
        (0..3).for_each(|id| drop(sandbox.make_dir(&format!("d{id}"), 0o755)));
        let output = workers(&sandbox, count, "ready").set(item, value).start();
        output.expect_error(1, "", &["ERROR: ", why]);
        sandbox.expect_nobody();
        assert_eq!(sandbox.names(), ["d0", "d1", "d2"]);
    }
    let output = workers(&sandbox, 3, "ready").unset("pid_file").start();
    output.expect_error(1, "", &["many workers need PID files"]);
}

#[test]
fn a_worker_that_does_not_exist_changes_nothing() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 3, "ready");
    fixture.start().expect(0, &lines("Starting", 0..3), "");
    let before = pids(&sandbox, 3);
    for action in ["start", "stop", "restart", "status"] {
        let output = fixture.run(&[action, "--worker-id", "3"]).finish();
        let why = "ERROR: there is no worker 3: there are 3, with numbers from 0 to 2\n";
        output.expect(2, "", why);
        let output = fixture.run(&[action, "--worker-id", "-1"]).finish();
        output.expect_error(2, "", &["invalid value '-1' for '--worker-id <ID>'"]);
    }
    assert_eq!(pids(&sandbox, 3), before);
    let output = fixture.run(&["restart", "--debug"]).finish();
    output.expect_error(2, "", &["3 workers cannot share the foreground"]);
    assert_eq!(sorted(sandbox.survivors()), sorted(before), "and nobody was stopped");
}

#[test]
fn one_can_run_in_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 3, "ready");
    let running = fixture.run(&["start", "--debug", "--worker-id", "2"]).spawn();
    running.says("Starting worker_2 ... OK\n");
    fixture.run(&["stop", "--worker-id", "2"]).finish().expect(0, "Stopping worker_2 ... OK\n", "");
    let output = running.finish();
    assert_eq!(output.signal(), Some(libc::SIGTERM), "{output:?}");
}

#[test]
fn many_need_no_more_files_than_are_allowed_and_give_the_limit_back() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 40, "ready");
    let limited = |script: &str| fixture.run(&["start"]).through(script).finish();
    let output = limited("ulimit -n 100; ulimit -Sn 64; exec \"$@\"");
    let why =
        "ERROR: cannot start 40 workers at once: it takes 296 more open files, and 100 are allowed";
    output.expect_error(1, "", &[why]);
    assert!(sandbox.names().is_empty());
    limited("ulimit -Sn 64; exec \"$@\"").expect(0, &lines("Starting", 0..40), "");
    for pid in pids(&sandbox, 40) {
        assert_eq!(limit(pid, "Max open files"), "64");
    }
    let output = fixture.run(&["stop"]).through("ulimit -Sn 64; exec \"$@\"").finish();
    output.expect(0, &lines("Stopping", 0..40), "");
}

#[test]
fn another_user_can_have_many() {
    if skip_unless_root("another_user_can_have_many") {
        return;
    }
    let sandbox = Sandbox::new();
    std::os::unix::fs::chown(sandbox.make_dir("home", 0o755), Some(1), Some(1)).unwrap();
    let path = sandbox.path("home/{n}.pid");
    let fixture = workers(&sandbox, 3, "ready").for_everybody().set("pid_file", path);
    let run = |action: &str| fixture.run(&[action]).as_user(1, 1).finish();
    run("start").expect(0, &lines("Starting", 0..3), "");
    assert_eq!(run("status").code(), Some(0));
    run("stop").expect(0, &lines("Stopping", 0..3), "");
}

#[test]
fn programs_are_workers_too() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 3, "").set("exec", "sleep\n600");
    fixture.start().expect(0, &lines("Starting", 0..3), "");
    assert_eq!(fixture.status().code(), Some(0));
    fixture.stop().expect(0, &lines("Stopping", 0..3), "");
    sandbox.expect_nobody();
}

#[test]
fn actions_of_the_programs_own_are_done_for_each() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 3, "ready").set("actions", "full_status");
    fixture.start().expect(0, &lines("Starting", 0..3), "");
    let all = pids(&sandbox, 3);
    let text: String = all.iter().map(|pid| format!("{pid} 7\n")).collect();
    fixture.run(&["full-status", "--wibble", "7"]).finish().expect(0, &text, "");
    fixture.run(&["stop", "--worker-id", "1"]).finish();
    let output = fixture.run(&["full-status"]).finish();
    output.expect(1, &format!("{} 42\nnobody\n{} 42\n", all[0], all[2]), "");
    let output = fixture.run(&["full-status", "--worker-id", "2"]).finish();
    output.expect(0, &format!("{} 42\n", all[2]), "");
}

/// As of one daemon.
#[test]
fn what_an_action_says_last_is_lost() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 2, "ready").set("actions", "murmur");
    let output = fixture.run(&["murmur"]).through("exec \"$@\" >/dev/full").finish();
    output.expect_error(1, "", &["No space left on device"]);
}

#[test]
fn a_hundred_come_and_go() {
    let sandbox = Sandbox::new();
    let fixture = workers(&sandbox, 100, "polite");
    let began = Instant::now();
    fixture.start().expect(0, &lines("Starting", 0..100), "");
    fixture.stop().expect(0, &lines("Stopping", 0..100), "");
    assert!(began.elapsed() < DEADLINE);
    sandbox.expect_nobody();
    assert!(sandbox.names().is_empty(), "{:?}", sandbox.names());
}
