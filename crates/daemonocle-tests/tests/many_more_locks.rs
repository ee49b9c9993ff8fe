//! Somebody holds so many locks that nobody can look through them in time: he keeps an answer from nobody for
//! longer than is promised.
//!
//! Alone in its file, for others would wait for the same list.

use std::fs;
use std::os::unix::fs::chown;
use std::time::Duration;

use daemonocle_tests::{
    Fixture, Running, Sandbox, is_alive, places, program, put_up_sign, skip_unless_root,
    takes_less_than,
};

const ENEMY: u32 = 12345;
const VICTIM: u32 = 12346;

/// 300,000 of them. Many are at the byte of this PID file.
fn hold_locks(fixture: &Fixture<'_>) -> Running {
    let sandbox = fixture.sandbox();
    let dir = sandbox.make_dir("enemys", 0o755);
    chown(&dir, Some(ENEMY), Some(ENEMY)).unwrap();
    let copy = sandbox.path("hold_locks");
    fs::copy(program("hold_locks"), &copy).unwrap();
    let byte = places(&fixture.pid_file())[0].to_string();
    let words = [copy.to_str().unwrap(), dir.to_str().unwrap(), &byte, "900", "333"];
    let running = fixture.watch(&words).as_user(ENEMY, ENEMY).spawn();
    running.says("ready");
    running
}

#[test]
fn an_ordinary_user_has_an_answer_in_time() {
    if skip_unless_root("an_ordinary_user_has_an_answer_in_time") {
        return;
    }
    /// The ten seconds that are promised, and what a busy machine needs besides.
    const LIMIT: Duration = Duration::from_secs(12);
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("victims", 0o755);
    chown(&dir, Some(VICTIM), Some(VICTIM)).unwrap();
    let fixture = sandbox.fixture("ready").unset("hook_log").set("on_hup", "yes");
    let fixture = fixture.set("pid_file", dir.join("example.pid")).by_user(VICTIM);
    let pid = fixture.started();
    let mut enemy = hold_locks(&fixture);
    // The daemon is found by its file.
    let shown = format!("example -- pid: {pid}, ");
    let is_fast = takes_less_than(Duration::from_secs(3), || {
        let status = fixture.status();
        assert!(status.stdout.starts_with(&shown), "{status:?}");
    });
    assert!(is_fast, "status of one that is running");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    let _sign = put_up_sign(&fixture.pid_file());
    let is_fast = takes_less_than(LIMIT, || {
        let status = fixture.status();
        if status.code() != Some(1) || status.stdout != "example -- not running\n" {
            status.expect_error(1, "", &["there are too many locks to look through"]);
        }
    });
    assert!(is_fast, "status of one that is not running");
    assert!(enemy.is_running());
}
