//! What can be done with a daemon, a file each: a definition goes in, an outcome comes out.
//!
//! Nothing here prints, but for what a daemon cannot tell otherwise (`complain`). Whoever wants to show how
//! an action goes on gets [`Event`]s.

#![forbid(unsafe_code)]

mod birth;
mod coming;
mod foreground;
mod guardian;
mod keeper;
mod reload;
mod reloader;
mod restart;
mod sentry;
mod start;
mod status;
mod stop;
mod successor;
mod together;
mod watch;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::config::Location;
use crate::error::{Error, Kind, harmless};
use crate::pid_file;
use crate::sys::process::Pid;
use crate::sys::signal::Signal;

pub(crate) use birth::Hooks;
pub(crate) use reload::reload;
pub(crate) use restart::restart;
pub(crate) use start::{Subject, start};
pub use status::{Details, DetailsIter, Field, Status, UnknownField, Value};
pub(crate) use status::{details, details_together, running, status, status_together};
pub(crate) use stop::stop;
pub(crate) use successor::succeed;
pub(crate) use together::{
    EventsOfMany, check_together, locate_together, restart_together, start_together, stop_together,
};

/// How to start.
///
/// ```
/// use daemonocle::Start;
/// assert_eq!(Start::default(), Start { foreground: false });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Stay in the foreground, whatever the definition says.
    pub foreground: bool,
}

/// How to stop.
///
/// ```
/// use daemonocle::Stop;
/// use std::time::Duration;
/// let gently = Stop::default();
/// let surely = Stop { timeout: Some(Duration::from_millis(1500)), force: true };
/// assert!(gently.timeout.is_none() && !gently.force);
/// # let _ = surely;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// How long to wait for the end; the definition's time-out by default.
    pub timeout: Option<Duration>,
    /// Kill the daemon (KILL, signal(7)) if it has not ended by then, and wait as long again, but
    /// at least a second.
    pub force: bool,
}

/// What an action has come to when it has not failed.
///
/// ```
/// use daemonocle::Outcome;
/// fn tell(outcome: Outcome) -> String {
///     match outcome {
///         Outcome::Started { pid } | Outcome::AlreadyRunning { pid } => format!("{pid} runs"),
///         Outcome::Ended { status } => format!("it has ended: {status}"),
///         Outcome::Stopped { .. } | Outcome::Killed { .. } | Outcome::NotRunning => "gone".into(),
///         _ => "something newer than this program".into(),
///     }
/// }
/// assert_eq!(tell(Outcome::NotRunning), "gone");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The daemon has been started and is running.
    Started {
        /// Its PID.
        pid: Pid,
    },
    /// It was running already.
    AlreadyRunning {
        /// Its PID.
        pid: Pid,
    },
    /// It ran in the foreground and has ended like this.
    Ended {
        /// The wait status of the worker's process.
        status: ExitStatus,
    },
    /// It has ended, as asked.
    Stopped {
        /// The PID that it had.
        pid: Pid,
    },
    /// It did not end when asked and was killed.
    Killed {
        /// The PID that it had.
        pid: Pid,
    },
    /// It has reloaded.
    Reloaded {
        /// The PID of the new process.
        pid: Pid,
    },
    /// It was not running.
    NotRunning,
    /// It is running, says the action `status` of [`Daemon::do_action`](crate::Daemon::do_action).
    Running {
        /// Its PID.
        pid: Pid,
    },
    /// An action of the program's own is done.
    Done,
}

/// Something worth telling while an action goes on.
#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only the command line shows them"))]
pub(crate) enum Event<'a> {
    /// This begins now.
    Begin(Verb),
    /// The worker runs, and may write to the same terminal; how it went is not known yet.
    WorkerRuns,
    /// What was begun is done.
    Done,
    /// What was begun has failed: something else comes next, or others do.
    Failed(&'a Error),
    /// Something is odd, or there is nothing to do.
    Warning(String),
    /// The foreground process passes this signal on.
    Forwarding(Signal),
    /// What the worker said at its end in the foreground.
    LastWords(&'a str),
    /// Everything that the foreground process waited for has ended.
    AllGone,
}

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Kill,
    Reload,
}

/// Where events go.
pub(crate) type Events<'a> = &'a mut dyn FnMut(Event<'_>);

/// Waits for the outcome of a start in progress.
fn wait_for_start(location: &Location, name: &str, deadline: Option<Instant>) -> Result<(), Error> {
    if pid_file::wait_for_outcome(location, deadline)? {
        return Ok(());
    }
    Err(still_starting(name))
}

fn still_starting(name: &str) -> Error {
    Error::new(Kind::TimedOut, format!("timed out while waiting for {name} to finish starting"))
}

fn cannot(what: &str, error: io::Error) -> Error {
    Error::system(format!("cannot {what}"), error)
}

/// Tells on standard error what a daemon cannot tell otherwise. That may be a terminal.
fn complain(what: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "ERROR: {}", harmless(&what.to_string()));
}

/// Somebody has changed its user, and only it can end itself now.
fn unsent(signal: Signal, pid: Pid, error: &io::Error) -> String {
    format!("cannot send {signal} to process (PID {pid}): {error}")
}
