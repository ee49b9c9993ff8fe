//! Somebody holds so many locks that nobody can look through them in time: he keeps an answer from nobody for
//! longer than is promised.
//!
//! Alone in its file, for others would wait for the same list.

use std::os::unix::fs::chown;
use std::time::Duration;

use daemonocle_tests::{
    Sandbox, hold_locks, is_alive, put_up_sign, skip_unless_root, takes_less_than,
};

const VICTIM: u32 = 12346;

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
    // 300,000 of them.
    let mut enemy = hold_locks(&fixture, 333, |run| run);
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
