//! Waiting for what no descriptor tells of.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that ought to happen at once, on a machine that is busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
///
/// # Panics
///
/// With `what` if it does not hold within [`DEADLINE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let met = within(DEADLINE, || condition().then_some(()));
    assert!(met.is_some(), "not within {DEADLINE:?}: {what}");
}

/// Whether `act` takes less than `limit` in one of ten runs: whatever keeps the machine busy does not
/// make it slow in all of them, and a wait of its own does.
pub fn takes_less_than(limit: Duration, mut act: impl FnMut()) -> bool {
    (0..10).any(|_| {
        let began = Instant::now();
        act();
        began.elapsed() < limit
    })
}

/// Asks again and again until there is an answer; `None`: not within `limit`.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if began.elapsed() > limit {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
