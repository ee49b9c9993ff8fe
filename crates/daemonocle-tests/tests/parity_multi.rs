//! Many daemons as one: the same cases with the original and with ours.

use daemonocle_tests::{Side, both, is_alive};

/// Three workers.
fn workers<'a>(side: &Side<'a>) -> Side<'a> {
    let path = side.sandbox().path("{n}.pid");
    side.set("multi", "3").set("name", "worker_{n}").set("pid_file", path)
}

fn lines(verb: &str) -> String {
    (0..3).map(|id| format!("{verb} worker_{id} ... OK\n")).collect()
}

fn pids(side: &Side<'_>) -> Vec<i32> {
    let pid = |id| side.sandbox().read(&format!("{id}.pid")).trim().parse().ok();
    (0..3).filter_map(pid).collect()
}

#[test]
fn start_status_and_stop() {
    both("start_status_and_stop", "sleep", |side| {
        let side = workers(side);
        side.does(&["start"], 0, &lines("Starting"), "");
        let before = pids(&side);
        assert!(before.len() == 3 && before.iter().all(|pid| is_alive(*pid)), "{before:?}");
        let output = side.run(&["status"]).finish();
        assert_eq!(output.code(), Some(0), "{output:?}");
        for (id, (line, pid)) in output.stdout.lines().zip(&before).enumerate() {
            let begin = format!("worker_{id} -- pid: {pid}, status: sleeping, uptime: ");
            assert!(line.starts_with(&begin), "{}: {output:?}", side.name());
        }
        // The original asks click for the terminal's size, which has not known it since 8.1.
        let output = side.run(&["status", "--json"]).finish();
        if !side.is_original() || !output.stderr.contains("get_terminal_size") {
            let list: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
            assert_eq!(list.as_array().unwrap().len(), 3);
            assert_eq!(list[2]["pid"], before[2]);
        }
        let told: String = (0..3)
            .zip(&before)
            .map(|(id, pid)| format!("WARNING: worker_{id} already running with PID {pid}\n"))
            .collect();
        side.does(&["start"], 0, "", &told);
        side.does(&["stop"], 0, &lines("Stopping"), "");
        assert!(pids(&side).is_empty());
        let told: String =
            (0..3).map(|id| format!("WARNING: worker_{id} is not running\n")).collect();
        side.does(&["stop"], 0, "", &told);
        let text: String = (0..3).map(|id| format!("worker_{id} -- not running\n")).collect();
        // The original says 0 whatever it finds.
        side.differs(&["status"], (1, &text, ""), (0, &text, ""));
    });
}

#[test]
fn one_of_them() {
    both("one_of_them", "sleep", |side| {
        let side = workers(side);
        side.does(&["start", "--worker-id", "1"], 0, "Starting worker_1 ... OK\n", "");
        assert_eq!(pids(&side).len(), 1);
        let restarted = "Stopping worker_1 ... OK\nStarting worker_1 ... OK\n";
        side.does(&["restart", "--worker-id", "1"], 0, restarted, "");
        let text = "worker_0 -- not running\n";
        side.differs(&["status", "--worker-id", "0"], (1, text, ""), (0, text, ""));
        side.does(&["stop", "--worker-id", "1"], 0, "Stopping worker_1 ... OK\n", "");
        let told = "WARNING: worker_1 is not running\n";
        side.does(&["stop", "--worker-id", "1"], 0, "", told);
    });
}

#[test]
fn a_worker_that_fails() {
    both("a_worker_that_fails", "end-code", |side| {
        let side = workers(side).set("multi", "2");
        let text = "Starting worker_0 ... FAILED\nStarting worker_1 ... FAILED\n";
        let why = "Child exited immediately with exit code 42\n";
        let ours = format!("ERROR: worker_0: {why}ERROR: worker_1: {why}");
        let theirs = format!("ERROR: {why}ERROR: {why}");
        side.differs(&["start"], (42, text, &ours), (0, text, &theirs));
    });
}
