//! Somebody holds many locks on a file that he has open very often: the kernel tells of all of them at each of
//! the descriptors, and nobody waits for that who looks for daemons that he cannot be.
//!
//! Alone in its file, for others would wait for the same list.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use daemonocle_tests::{
    Sandbox, copy_program, places, program, put_up_sign, skip_unless_root, takes_less_than,
};

const ENEMY: u32 = 12345;

#[test]
fn many_workers_are_not_delayed() {
    if skip_unless_root("many_workers_are_not_delayed") {
        return;
    }
    let sandbox = Sandbox::new();
    fs::set_permissions(sandbox.dir(), Permissions::from_mode(0o755)).unwrap();
    let dir = sandbox.make_dir("enemys", 0o755);
    chown(&dir, Some(ENEMY), Some(ENEMY)).unwrap();
    let copy = sandbox.path("hold_locks");
    copy_program(program("hold_locks"), &copy);
    let many = sandbox.fixture("ready").set("multi", "3").set("name", "worker_{n}");
    let many = many.set("pid_file", sandbox.path("{n}.pid")).unset("hook_log");
    let first = sandbox.path("0.pid");
    let _sign = put_up_sign(&first);
    let byte = places(&first)[0].to_string();
    let words = [copy.to_str().unwrap(), dir.to_str().unwrap(), &byte, "1", "20000", "500"];
    let mut enemy = many.watch(&words).as_user(ENEMY, ENEMY).spawn();
    enemy.says("ready");
    let is_fast = takes_less_than(Duration::from_secs(3), || {
        let status = many.status();
        assert_eq!(status.stdout.matches("not running").count(), 3, "{status:?}");
    });
    assert!(is_fast, "status");
    assert!(enemy.is_running());
}
