//! Daemons that reload.

use std::fs;

use crate::fixture::Fixture;
use crate::process::Pid;
use crate::sandbox::Sandbox;
use crate::wait::eventually;

/// A daemon that reloads when [`tell`] does, and acts by the words of the file `plan`; it says what it does in the
/// file `out`.
///
/// # Panics
///
/// If its files cannot be made.
#[must_use]
#[track_caller]
pub fn reloading<'a>(sandbox: &'a Sandbox, worker: &str) -> Fixture<'a> {
    let fixture = sandbox.fixture(worker).set("fifo", sandbox.make_fifo("fifo"));
    fixture.set("out", sandbox.write("out", "")).set("plan", sandbox.write("plan", ""))
}

/// The same, and it reloads when the action asks it to as well.
///
/// # Panics
///
/// If its files cannot be made.
#[must_use]
#[track_caller]
pub fn reloading_on_hup(sandbox: &Sandbox) -> Fixture<'_> {
    reloading(sandbox, "reloads").set("on_hup", "yes")
}

/// Makes it reload.
///
/// # Panics
///
/// If it cannot be told.
#[track_caller]
pub fn tell(fixture: &Fixture<'_>) {
    fs::write(fixture.sandbox().path("fifo"), "").unwrap();
}

/// Waits until one process is left, which is the daemon: its PID.
///
/// # Panics
///
/// If there is another one, or none.
#[track_caller]
pub fn expect_one_left(fixture: &Fixture<'_>) -> Pid {
    let mut pid = 0;
    eventually("one is left, and is the daemon", || {
        pid = fixture.pid().unwrap_or_default();
        fixture.sandbox().survivors() == [pid]
    });
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    pid
}
