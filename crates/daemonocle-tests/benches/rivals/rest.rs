//! What a daemon costs that does nothing.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Pid;

use crate::Result;
use crate::lap::{Place, descendants};
use crate::rival::Rival;

/// How long it is watched.
const WATCH: Duration = Duration::from_secs(5);

/// All processes together that it needs.
pub struct Rest {
    pub processes: usize,
    pub threads: usize,
    /// In KiB: proportional, and what it has for itself.
    pub proportional: u64,
    pub private: u64,
    /// How often one of its threads was given a processor in a minute.
    pub wake_ups: u64,
}

impl Rest {
    pub fn of(rival: &Rival, place: &Place) -> Result<Self> {
        let (_, daemon) = place.start(rival)?;
        // Past what comes right after the start.
        thread::sleep(Duration::from_secs(1));
        let before = wake_ups(&descendants());
        thread::sleep(WATCH);
        let processes = descendants();
        let after = wake_ups(&processes);
        let sum = |name: &str| processes.iter().map(|&pid| memory(pid, name)).sum();
        let rest = Self {
            processes: processes.len(),
            threads: processes.iter().map(|&pid| threads(pid).len()).sum(),
            proportional: sum("Pss:"),
            private: sum("Private_Clean:") + sum("Private_Dirty:"),
            wake_ups: (after - before) * 60 / WATCH.as_secs(),
        };
        place.stop(rival, &daemon)?;
        Ok(rest)
    }
}

fn threads(pid: Pid) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let tasks = tasks.into_iter().flatten().flatten();
    tasks.map(|task| task.path().display().to_string()).collect()
}

/// The switches to and from all their threads.
fn wake_ups(processes: &[Pid]) -> u64 {
    let threads = processes.iter().flat_map(|&pid| threads(pid));
    threads.map(|thread| numbers(&format!("{thread}/status"), "voluntary_ctxt_switches:")).sum()
}

/// One line of smaps_rollup, proc(5).
fn memory(pid: Pid, name: &str) -> u64 {
    numbers(&format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero()), name)
}

/// The number behind this name.
fn numbers(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
