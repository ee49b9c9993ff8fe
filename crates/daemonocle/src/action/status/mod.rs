//! `status`: what the kernel knows of the daemon and its process group. Changes nothing.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::config::{Location, Settings};
use crate::error::Error;
use crate::pid_file::{self, Presence, Running};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::proc::{self, Stat};
use crate::sys::process::{self, Pid};

use super::{Event, Events};

mod details;
mod field;
mod group;
#[cfg(feature = "serde")]
mod serialize;
mod together;
mod value;

pub use field::{Field, UnknownField};
pub(crate) use together::{details_together, status_together};
pub use value::{Details, DetailsIter, Value};

use group::{Groups, Usage};

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
    let mut status = None;
    of_running(settings, events, &mut |running| {
        status = measure(running)?;
        Ok(status.is_some())
    })?;
    Ok(status)
}

/// `None`: it is not running.
pub(crate) fn details(
    settings: &Settings,
    fields: &[Field],
    events: Events<'_>,
) -> Result<Option<Details>, Error> {
    let mut details = None;
    of_running(settings, events, &mut |running| {
        if let Some(sight) = Sight::take(running, fields.contains(&Field::CpuPercent))? {
            details = details::read(&settings.name, running, &sight, fields, &proc::group)?;
        }
        Ok(details.is_some())
    })?;
    Ok(details)
}

/// The PID alone. `None`: it is not running.
pub(crate) fn running(settings: &Settings, events: Events<'_>) -> Result<Option<Pid>, Error> {
    let mut pid = None;
    of_running(settings, events, &mut |running| {
        pid = living(running)?.map(|_| running.pid());
        Ok(pid.is_some())
    })?;
    Ok(pid)
}

/// Asks the daemon that is running, if one is, until it has answered; not when it has ended meanwhile, and nobody
/// else is there.
fn of_running(
    settings: &Settings,
    events: Events<'_>,
    ask: &mut dyn FnMut(&Running) -> io::Result<bool>,
) -> Result<(), Error> {
    let location = settings.locate()?;
    let mut before = None;
    let deadline = deadline_in(pid_file::LONG);
    loop {
        let Some(running) = seen(&location, pid_file::look(&location)?, events) else {
            return Ok(());
        };
        let pid = running.pid();
        let is_answered = ask(&running).map_err(|error| cannot(&location, pid, error))?;
        // One that has ended meanwhile may have a successor: it reloads.
        if is_answered || before.replace(pid) == Some(pid) {
            return Ok(());
        }
        pid_file::keep_up(&location, deadline)?;
    }
}

/// The daemon, if one is running.
fn seen(location: &Location, presence: Presence, events: Events<'_>) -> Option<Running> {
    match presence {
        Presence::Running(running) => Some(running),
        Presence::Starting => None,
        Presence::Absent { broken } => {
            if broken {
                let path = location.path.display();
                let text = format!("Empty or broken PID file {path}; left as it is");
                events(Event::Warning(text));
            }
            None
        }
    }
}

fn cannot(location: &Location, pid: Pid, error: io::Error) -> Error {
    let path = &location.path;
    Error::system(format!("cannot examine process {pid} of PID file {path:?}"), error)
}

/// `None`: it has ended meanwhile.
fn measure(running: &Running) -> io::Result<Option<Status>> {
    let sight = Sight::take(running, true)?;
    sight.map_or(Ok(None), |sight| sight.status(running, &proc::group))
}

/// What there was to be seen of a daemon first.
struct Sight {
    stat: Stat,
    /// If the use of the processor is wanted.
    usage: Option<Usage>,
}

impl Sight {
    /// The first look at it, and all that there is to wait for. `None`: it has ended meanwhile.
    fn take(running: &Running, is_watched: bool) -> io::Result<Option<Self>> {
        let Some(sight) = Self::begin(running, is_watched, &proc::group)? else {
            return Ok(None);
        };
        let Some(usage) = &sight.usage else {
            return Ok(Some(sight));
        };
        // Not a sleep: a daemon that ends meanwhile is noticed.
        let handle = running.daemon().as_ref().ok().map(AsFd::as_fd);
        let has_ended = wait_readable([handle], usage.end())? == [true];
        Ok((!has_ended).then_some(sight))
    }

    /// The first look at it. `None`: it has ended.
    fn begin(running: &Running, is_watched: bool, groups: &Groups<'_>) -> io::Result<Option<Self>> {
        let Some(stat) = living(running)? else {
            return Ok(None);
        };
        let usage = match is_watched {
            true => Some(Usage::begin(&group::members(&stat, groups)?)),
            false => None,
        };
        Ok(Some(Self { stat, usage }))
    }

    /// `None`: it has ended meanwhile.
    fn status(&self, running: &Running, groups: &Groups<'_>) -> io::Result<Option<Status>> {
        let Some(stat) = living(running)? else {
            return Ok(None);
        };
        let members = group::members(&stat, groups)?;
        Ok(Some(Status {
            pid: running.pid(),
            state: word(stat.state),
            uptime: proc::age(stat.start),
            cpu_percent: self.usage.as_ref().map_or(0.0, |usage| usage.percent(&members)),
            memory_percent: group::memory_percent(&members)?,
        }))
    }
}

/// `None`: it has ended. That it is there and /proc hides it is an error.
fn living(running: &Running) -> io::Result<Option<Stat>> {
    match proc::stat(running.pid())? {
        Some(stat) if stat.is_dead() => Ok(None),
        Some(stat) => Ok(Some(stat)),
        None => unlisted(running),
    }
}

/// What /proc does not show has ended, unless the kernel knows better: then it is hidden from us
/// (`hidepid`, proc(5)).
fn unlisted(running: &Running) -> io::Result<Option<Stat>> {
    if is_there(running)? {
        let why = "it is running, but /proc hides it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(None)
}

/// Whether the process that was proven to be the daemon still is, by the kernel's word.
fn is_there(running: &Running) -> io::Result<bool> {
    match running.daemon() {
        Ok(handle) => {
            Ok(wait_readable([Some(handle.as_fd())], deadline_in(Duration::ZERO))? == [false])
        }
        Err(_) => Ok(process::exists(running.pid())),
    }
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
