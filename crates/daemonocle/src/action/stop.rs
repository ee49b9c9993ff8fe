//! `stop`: asks, waits until the process is gone, and kills only when told to.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::config::{Location, Settings};
use crate::error::{Error, Kind};
use crate::pid_file::{self, Origin, Presence, Running};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::fs::Inode;
use crate::sys::process::{Pid, PidFd};
use crate::sys::signal::Signal;
use crate::sys::{proc, user};

use super::{Event, Events, Outcome, Stop, Verb};

pub(crate) fn stop(settings: &Settings, stop: Stop, events: Events<'_>) -> Result<Outcome, Error> {
    let location = settings.locate()?;
    let timeout = stop.timeout.unwrap_or(settings.stop_timeout);
    let deadline = deadline_in(timeout);
    let name = &settings.name;
    match find(&location, name, deadline)? {
        Found::Nobody { broken } => {
            let is_removed = pid_file::sweep(&location, Origin::Unknown)?;
            if broken {
                let path = location.path.display();
                let done = if is_removed { "removed" } else { "left as it is" };
                events(Event::Warning(format!("Empty or broken PID file {path}; {done}")));
            }
            events(Event::Warning(format!("{name} is not running")));
            Ok(Outcome::NotRunning)
        }
        Found::Running { pid, handle, inode } => {
            let target = Target { name, pid, handle };
            let outcome = target.end(timeout, stop.force, events)?;
            pid_file::sweep(&location, Origin::Daemon(inode))?;
            events(Event::Done);
            Ok(outcome)
        }
    }
}

enum Found {
    Nobody { broken: bool },
    Running { pid: Pid, handle: PidFd, inode: Inode },
}

fn find(location: &Location, name: &str, deadline: Option<Instant>) -> Result<Found, Error> {
    loop {
        match pid_file::look(location)? {
            Presence::Absent { broken } => return Ok(Found::Nobody { broken }),
            Presence::Running(Running { pid, handle, inode, .. }) => {
                return match handle {
                    Ok(handle) => Ok(Found::Running { pid, handle, inode }),
                    Err(error) => {
                        let what = format!("cannot signal {name} (PID {pid}) safely");
                        Err(Error::system(what, error))
                    }
                };
            }
            Presence::Starting => {
                if !pid_file::wait_for_outcome(location, deadline)? {
                    let message = format!("timed out while waiting for {name} to finish starting");
                    return Err(Error::new(Kind::TimedOut, message));
                }
            }
        }
    }
}

/// One process, and no other, to be ended.
struct Target<'a> {
    name: &'a str,
    pid: Pid,
    handle: PidFd,
}

impl Target<'_> {
    fn end(&self, timeout: Duration, force: bool, events: Events<'_>) -> Result<Outcome, Error> {
        let pid = self.pid;
        events(Event::Begin(Verb::Stop));
        self.signal(self.handle.ask(Signal::TERM))?;
        if self.is_gone_within(timeout)? {
            return Ok(Outcome::Stopped { pid });
        }
        let late = Error::new(
            Kind::TimedOut,
            format!("Timed out while waiting for process (PID {pid}) to terminate"),
        );
        if !force {
            return Err(late);
        }
        events(Event::Failed(&late));
        events(Event::Begin(Verb::Kill));
        self.signal(self.handle.send(Signal::KILL))?;
        /// A time-out of zero is for the polite request; even a killed process needs a moment.
        const DYING: Duration = Duration::from_secs(1);
        if self.is_gone_within(timeout.max(DYING))? {
            return Ok(Outcome::Killed { pid });
        }
        let message = format!("Process (PID {pid}) did not respond to SIGKILL for some reason");
        Err(Error::new(Kind::TimedOut, message))
    }

    fn signal(&self, sent: io::Result<()>) -> Result<(), Error> {
        match sent {
            Ok(()) => Ok(()),
            // It has ended by itself, or is dying of something else.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn refused(&self, error: io::Error) -> Error {
        let Self { name, pid, .. } = self;
        let owner = match proc::user(*pid) {
            Ok(Some(uid)) => format!(" of user {}", user::describe(uid)),
            _ => String::new(),
        };
        Error::system(format!("cannot signal {name} (PID {pid}){owner}"), error)
    }

    fn is_gone_within(&self, time: Duration) -> Result<bool, Error> {
        let deadline = deadline_in(time);
        wait_readable([Some(self.handle.as_fd())], deadline)
            .map(|[gone]| gone)
            .map_err(|error| Error::system("cannot wait for the process to end", error))
    }
}
