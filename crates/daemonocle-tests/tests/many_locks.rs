//! Somebody holds more locks than can be looked through: he delays nobody else's answers.
//!
//! Alone in its file, for others would wait for the same list.

use std::fs;
use std::os::unix::fs::chown;
use std::time::Duration;

use daemonocle_tests::{
    Sandbox, hold_locks, is_alive, put_up_sign, skip_unless_root, takes_less_than,
};

const VICTIM: u32 = 12346;

#[test]
fn very_many_locks_do_not_delay_an_answer() {
    let name = "very_many_locks_do_not_delay_an_answer";
    if skip_unless_root(name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    // The list of 60,000 locks takes seconds to read.
    let mut enemy = hold_locks(&fixture, 66, |run| run);
    let _sign = put_up_sign(&fixture.pid_file());
    let limit = Duration::from_secs(3);
    let fast = takes_less_than(limit, || {
        fixture.status().expect(1, "example -- not running\n", "");
    });
    assert!(fast, "status");
    // A daemon whose file is gone is found all the same.
    let pid = fixture.started();
    fs::remove_file(fixture.pid_file()).unwrap();
    let text = format!("already running with PID {pid}");
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &[&text]);
    assert_eq!(fixture.status().code(), Some(0));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    // Somebody who may not look at the processes of others has only the list.
    let dir = sandbox.make_dir("victims", 0o755);
    chown(&dir, Some(VICTIM), Some(VICTIM)).unwrap();
    let fixture =
        fixture.set("pid_file", dir.join("example.pid")).unset("hook_log").for_everybody();
    let _sign = put_up_sign(&fixture.pid_file());
    let status = fixture.run(&["status"]).as_user(VICTIM, VICTIM).finish();
    if status.code() != Some(1) || status.stdout != "example -- not running\n" {
        let why =
            format!("cannot look for PID file {:?}: there are too many locks", fixture.pid_file());
        status.expect_error(1, "", &[&why]);
    }
    assert!(enemy.is_running());
}
