//! `status`: what the kernel knows of the daemon and its process group. Changes nothing.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::config::{Location, Settings};
use crate::error::Error;
use crate::pid_file::{self, Presence, Running};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::proc::{self, Stat};
use crate::sys::process::Pid;

use super::{Event, Events};

/// How long the use of the processor is watched.
const WINDOW: Duration = Duration::from_millis(100);

/// A running daemon.
///
/// ```no_run
/// let daemon = daemonocle::Daemon::new("example").pid_file("/tmp/example.pid");
/// if let Some(status) = daemon.status()? {
///     println!("{}: {}, {:.1} % of a processor", status.pid, status.state, status.cpu_percent);
/// }
/// # Ok::<(), daemonocle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// Its PID.
    pub pid: Pid,
    /// What its main thread is doing, in psutil's words: `running`, `sleeping`, `disk-sleep`,
    /// `stopped`, `tracing-stop`, `idle`, …
    pub state: &'static str,
    /// How long it has been there, in the 10 ms steps of proc(5). The wall clock has no part in
    /// it.
    pub uptime: Duration,
    /// The use of processors by its process group over a tenth of a second: 100 is one processor.
    pub cpu_percent: f64,
    /// The memory of its process group in percent of the machine's: shared pages count in
    /// proportion (PSS), or, for a daemon of another user, in full (RSS).
    pub memory_percent: f64,
}

/// `None`: it is not running.
pub(crate) fn status(settings: &Settings, events: Events<'_>) -> Result<Option<Status>, Error> {
    let location = settings.locate()?;
    let running = match pid_file::look(&location)? {
        Presence::Running(running) => running,
        Presence::Starting => return Ok(None),
        Presence::Absent { broken } => {
            if broken {
                let path = location.path.display();
                events(Event::Warning(format!("Empty or broken PID file {path}; left as it is")));
            }
            return Ok(None);
        }
    };
    match measure(&running).map_err(|error| cannot(&location, running.pid, error))? {
        Some(status) => Ok(Some(status)),
        None => Ok(None),
    }
}

fn cannot(location: &Location, pid: Pid, error: io::Error) -> Error {
    let path = &location.path;
    Error::system(format!("cannot examine process {pid} of PID file {path:?}"), error)
}

/// `None`: it has ended meanwhile.
fn measure(running: &Running) -> io::Result<Option<Status>> {
    let pid = running.pid;
    let Some(first) = living(pid)? else {
        return gone(running);
    };
    let before = cpu_times(&members(&first)?);
    let began = Instant::now();
    // Not a sleep: a daemon that ends meanwhile is noticed.
    let handle = running.handle.as_ref().ok().map(AsFd::as_fd);
    if wait_readable([handle], deadline_in(WINDOW))? == [true] {
        return Ok(None);
    }
    let elapsed = began.elapsed();
    let Some(stat) = living(pid)? else {
        return gone(running);
    };
    let members = members(&stat)?;
    let used = used(&before, &cpu_times(&members));
    let memory: u64 = members.iter().filter_map(|stat| proc::memory(stat.pid).ok()).sum();
    Ok(Some(Status {
        pid,
        state: word(stat.state),
        uptime: proc::age(stat.start),
        cpu_percent: 100.0 * used.as_secs_f64() / elapsed.as_secs_f64(),
        memory_percent: 100.0 * memory as f64 / proc::total_memory()? as f64,
    }))
}

/// What /proc does not show has ended, unless the pidfd knows better: then it is hidden from us
/// (`hidepid`, proc(5)).
fn gone(running: &Running) -> io::Result<Option<Status>> {
    if let (Ok(handle), None) = (&running.handle, proc::stat(running.pid)?)
        && wait_readable([Some(handle.as_fd())], deadline_in(Duration::ZERO))? == [false]
    {
        let why = "it is running, but /proc hides it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(None)
}

fn living(pid: Pid) -> io::Result<Option<Stat>> {
    Ok(proc::stat(pid)?.filter(|stat| !stat.is_dead()))
}

/// The living processes of the daemon's group without its ancestors, who in the foreground may
/// belong to it: the command that started it, a script, a pipeline.
fn members(daemon: &Stat) -> io::Result<Vec<Stat>> {
    let mut members = proc::group(daemon.group)?;
    members
        .retain(|stat| !stat.is_dead() && (stat.pid == daemon.pid || !is_ancestor(stat, daemon)));
    if !members.iter().any(|stat| stat.pid == daemon.pid) {
        members.push(*daemon);
    }
    Ok(members)
}

fn is_ancestor(stat: &Stat, daemon: &Stat) -> bool {
    proc::is_descendant(daemon, stat.pid).unwrap_or(false)
}

fn cpu_times(members: &[Stat]) -> Vec<(Pid, Duration)> {
    // Who has ended since the list was made has no time to tell.
    members
        .iter()
        .filter_map(|stat| proc::cpu_time(stat.pid).ok().map(|time| (stat.pid, time)))
        .collect()
}

/// What was used between two readings; who was not there at first has used all of his in between.
fn used(before: &[(Pid, Duration)], after: &[(Pid, Duration)]) -> Duration {
    after
        .iter()
        .map(|(pid, time)| {
            let earlier = before.iter().find(|(known, _)| known == pid);
            time.saturating_sub(earlier.map_or(Duration::ZERO, |(_, time)| *time))
        })
        .sum()
}

/// psutil's names for the state letters of proc(5).
fn word(state: u8) -> &'static str {
    match state {
        b'R' => "running",
        b'S' => "sleeping",
        b'D' => "disk-sleep",
        b'T' => "stopped",
        b't' => "tracing-stop",
        b'Z' => "zombie",
        b'X' | b'x' => "dead",
        b'K' => "wake-kill",
        b'W' => "waking",
        b'I' => "idle",
        b'P' => "parked",
        _ => "?",
    }
}
