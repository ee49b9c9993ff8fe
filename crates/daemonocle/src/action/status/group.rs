//! What a daemon's process group uses.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use crate::sys::proc::{self, Stat, memory};
use crate::sys::process::Pid;

/// How long the use of the processor is watched.
const WINDOW: Duration = Duration::from_millis(100);

/// Where the processes of a group are to be learnt: of each by itself, or of all that are wanted at once.
pub(super) type Groups<'a> = dyn Fn(i32) -> io::Result<Vec<Pid>> + 'a;

/// The processes of the daemon's group without its ancestors, who in the foreground may belong to
/// it: the command that started it, a script, a pipeline. The dead have no memory, but may have used
/// a processor just before.
pub(super) fn members(daemon: &Stat, groups: &Groups<'_>) -> io::Result<Vec<Pid>> {
    let mut members = groups(daemon.group)?;
    let ancestors = proc::ancestors(daemon).unwrap_or_default();
    members.retain(|pid| !ancestors.contains(pid));
    if !members.contains(&daemon.pid) {
        members.push(daemon.pid);
    }
    Ok(members)
}

/// How many of these are alive.
pub(super) fn count(members: &[Pid]) -> usize {
    let is_alive = |pid| matches!(proc::stat(pid), Ok(Some(stat)) if !stat.is_dead());
    members.iter().filter(|pid| is_alive(**pid)).count()
}

/// The use of processors by a group, watched for a while.
pub(super) struct Usage {
    before: HashMap<Pid, Duration>,
    began: Instant,
}

impl Usage {
    /// Begins to watch.
    pub(super) fn begin(members: &[Pid]) -> Self {
        // Before the first reading, as the other one: that may take a while in a large group.
        let began = Instant::now();
        Self { before: cpu_times(members).collect(), began }
    }

    /// When it has been watched long enough.
    pub(super) fn end(&self) -> Option<Instant> {
        self.began.checked_add(WINDOW)
    }

    /// What these have used since, in percent of one processor. Who was not there at first has used
    /// all of his in between.
    pub(super) fn percent(&self, members: &[Pid]) -> f64 {
        let elapsed = self.began.elapsed();
        let earlier = |pid| self.before.get(&pid).copied().unwrap_or_default();
        let used = cpu_times(members).map(|(pid, time)| time.saturating_sub(earlier(pid)));
        100.0 * used.sum::<Duration>().as_secs_f64() / elapsed.as_secs_f64()
    }
}

fn cpu_times(members: &[Pid]) -> impl Iterator<Item = (Pid, Duration)> {
    // Who has gone since the list was made has no time to tell.
    members.iter().filter_map(|&pid| Some((pid, proc::cpu_time(pid).ok()?)))
}

/// The memory of these in percent of the machine's.
pub(super) fn memory_percent(members: &[Pid]) -> io::Result<f64> {
    let memory = members.iter().filter_map(|&pid| memory::of_process(pid).ok());
    let memory = memory.fold(0, u64::saturating_add);
    Ok(100.0 * memory as f64 / memory::of_machine()? as f64)
}
