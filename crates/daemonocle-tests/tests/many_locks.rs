//! Somebody holds more locks than can be looked through: he delays nobody else's answers.
//!
//! Alone in its file, for others would wait for the same list.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use daemonocle_tests::{
    Fixture, Running, Sandbox, is_alive, places, program, put_up_sign, skip_unless_root,
    takes_less_than,
};

const ENEMY: u32 = 12345;
const VICTIM: u32 = 12346;

/// The list of 60,000 locks takes seconds to read. Many of them are at the byte of this PID file.
fn hold_locks(fixture: &Fixture<'_>) -> Running {
    let sandbox = fixture.sandbox();
    fs::set_permissions(sandbox.dir(), Permissions::from_mode(0o755)).unwrap();
    let dir = sandbox.make_dir("enemys", 0o755);
    chown(&dir, Some(ENEMY), Some(ENEMY)).unwrap();
    let copy = sandbox.path("hold_locks");
    fs::copy(program("hold_locks"), &copy).unwrap();
    let byte = places(&fixture.pid_file())[0].to_string();
    let words = [copy.to_str().unwrap(), dir.to_str().unwrap(), &byte, "900", "66"];
    let running = fixture.watch(&words).as_user(ENEMY, ENEMY).spawn();
    running.says("ready");
    running
}

#[test]
fn very_many_locks_do_not_delay_an_answer() {
    let name = "very_many_locks_do_not_delay_an_answer";
    if skip_unless_root(name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let mut enemy = hold_locks(&fixture);
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
