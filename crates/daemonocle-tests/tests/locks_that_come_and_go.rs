//! Somebody takes locks and drops them again, all the time: what the kernel lists behind them is skipped by who
//! reads the list just then, but nobody is missed for that.
//!
//! Alone in its file, for others would read the same list.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use daemonocle_tests::{Fixture, Sandbox, copy_program, is_alive, program, skip_unless_root};

const ENEMY: u32 = 12345;
const VICTIM: u32 = 12346;

#[test]
fn a_daemon_without_its_file_is_found_each_time() {
    const NAME: &str = "a_daemon_without_its_file_is_found_each_time";
    /// Without the mend about one in ten is told that there is nobody.
    const TRIALS: u32 = 30;
    if skip_unless_root(NAME) {
        return;
    }
    let sandbox = Sandbox::new();
    fs::set_permissions(sandbox.dir(), Permissions::from_mode(0o755)).unwrap();
    let dir = sandbox.make_dir("enemys", 0o755);
    chown(&dir, Some(ENEMY), Some(ENEMY)).unwrap();
    let copy = sandbox.path("toggle_locks");
    copy_program(program("toggle_locks"), &copy);

    let one = sandbox.fixture("ready").for_everybody();
    let pid = one.started();
    fs::remove_file(one.pid_file()).unwrap();
    let run = sandbox.make_dir("run", 0o755);
    let many = sandbox.fixture("ready").set("multi", "3").set("name", "worker_{n}");
    let many = many.set("pid_file", run.join("{n}.pid")).unset("hook_log");
    assert_eq!(many.start().code(), Some(0));
    fs::remove_file(run.join("1.pid")).unwrap();

    let file = dir.join("file");
    let words = [copy.to_str().unwrap(), file.to_str().unwrap(), "150"];
    let mut enemy = one.watch(&words).as_user(ENEMY, ENEMY).spawn();
    enemy.says("ready");
    for trial in 0..TRIALS {
        one.start().expect_error(
            1,
            "Starting example ... FAILED\n",
            &[&format!("already running with PID {pid}")],
        );
        assert_eq!(one.status().code(), Some(0), "{trial}");
        // Who may not look at it has only the list.
        let status = one.run(&["status"]).as_user(VICTIM, VICTIM).finish();
        status.expect_error(1, "", &[&format!("PID {pid} may be the daemon that has lost it")]);
        expect_lost(&many);
    }
    assert!(enemy.is_running());
    assert!(is_alive(pid));
    one.stop().expect(0, "Stopping example ... OK\n", "");
    assert_eq!(many.stop().code(), Some(0));
}

#[track_caller]
fn expect_lost(many: &Fixture<'_>) {
    let status = many.status();
    assert!(!status.stdout.contains("not running"), "{status:?}");
    let start = many.start();
    assert!(start.stderr.contains("worker_1: already running with PID "), "{start:?}");
}
