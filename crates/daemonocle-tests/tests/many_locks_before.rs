//! Somebody holds more locks than can be looked through before it is time for another way, and what has been seen
//! by then is somebody who has a lock like the daemon's.
//!
//! Alone in its file, for others would wait for the same list.

use std::fs;

use daemonocle_tests::{
    Run, Sandbox, hold_locks, places, program, skip_unless_root, skip_unless_there_is, status_field,
};

/// On one processor: each has a list of its own, and what comes last is first there.
fn pinned(run: Run) -> Run {
    let allowed = status_field(std::process::id().cast_signed(), "Cpus_allowed_list");
    let first = allowed.split(['-', ',']).next().unwrap().to_owned();
    run.under(&["taskset", "-c", &first])
}

#[test]
fn who_is_seen_first_does_not_end_the_search() {
    let name = "who_is_seen_first_does_not_end_the_search";
    if skip_unless_root(name) || skip_unless_there_is("taskset", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    pinned(fixture.run(&["start"])).finish().expect(0, "Starting example ... OK\n", "");
    let pid = fixture.pid().unwrap();
    let [_, path] = places(&fixture.pid_file()).map(|byte| byte.to_string());
    fs::remove_file(fixture.pid_file()).unwrap();
    let mut enemy = hold_locks(&fixture, 200, pinned);
    let dir = sandbox.make_dir("another", 0o700);
    let holder = program("hold_locks");
    let words = [holder.to_str().unwrap(), dir.to_str().unwrap(), &path, "1", "0"];
    let mut decoy = pinned(fixture.watch(&words)).spawn();
    decoy.says("ready");
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let text = format!("already running with PID {pid}");
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &[&text]);
    assert!(enemy.is_running() && decoy.is_running());
}
