//! `stop`: asks, waits until the process is gone, and kills only when told to.

#![forbid(unsafe_code)]

use std::fs::{self, File};
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
            let path = location.path.display();
            let bystander = pid_file::bystander(&location)?;
            let is_removed = bystander.is_none() && pid_file::sweep(&location, Origin::Unknown)?;
            if let Some(pid) = bystander {
                let text = format!(
                    "PID file {path} names process {pid}, which has no lock on it; left as it is"
                );
                events(Event::Warning(text));
            }
            if broken {
                let done = if is_removed { "removed" } else { "left as it is" };
                events(Event::Warning(format!("Empty or broken PID file {path}; {done}")));
            }
            events(Event::Warning(format!("{name} is not running")));
            Ok(Outcome::NotRunning)
        }
        Found::Running(mut target) => {
            events(Event::Begin(Verb::Stop));
            let outcome = target.end(timeout, stop.force, events)?;
            // It may have reloaded just before it was asked. Else it has removed the file, or could not.
            while fs::symlink_metadata(&location.path).is_ok()
                && let Ok(Found::Running(next)) = find(&location, name, deadline_in(timeout))
                && next.is_successor_of(&target)
            {
                next.end(timeout, stop.force, events)?;
                target = next;
            }
            pid_file::sweep(&location, Origin::Daemon(target.inode))?;
            events(Event::Done);
            Ok(outcome)
        }
    }
}

enum Found<'a> {
    Nobody { broken: bool },
    Running(Target<'a>),
}

fn find<'a>(
    location: &Location,
    name: &'a str,
    deadline: Option<Instant>,
) -> Result<Found<'a>, Error> {
    loop {
        match pid_file::look(location)? {
            Presence::Absent { broken } => return Ok(Found::Nobody { broken }),
            Presence::Running(running) => return Ok(Found::Running(Target::new(name, running)?)),
            Presence::Starting => {
                if !pid_file::wait_for_outcome(location, deadline)? {
                    let message = format!("timed out while waiting for {name} to finish starting");
                    return Err(Error::new(Kind::TimedOut, message));
                }
            }
        }
    }
}

/// One daemon, and no other process, to be ended.
struct Target<'a> {
    name: &'a str,
    pid: Pid,
    predecessor: Option<Pid>,
    /// The process that holds the PID file, and is the last to end.
    holder: PidFd,
    /// The program that the holder keeps, where that is the daemon.
    program: Option<PidFd>,
    /// The PID file, which stays open so that no other file gets this number.
    inode: Inode,
    _pin: Option<File>,
}

impl<'a> Target<'a> {
    fn new(name: &'a str, running: Running) -> Result<Self, Error> {
        let pid = running.pid();
        let unsafely =
            |error| Error::system(format!("cannot signal {name} (PID {pid}) safely"), error);
        let holder = running.handle.map_err(unsafely)?;
        let program = running.program.map(|program| program.handle).transpose();
        let (inode, pin, predecessor) = (running.inode, running.pin, running.predecessor);
        Ok(Self {
            name,
            pid,
            predecessor,
            holder,
            program: program.map_err(unsafely)?,
            inode,
            _pin: pin,
        })
    }

    /// Whether this is what the other one has become by a reload.
    fn is_successor_of(&self, other: &Self) -> bool {
        self.predecessor == Some(other.pid)
    }

    fn end(&self, timeout: Duration, force: bool, events: Events<'_>) -> Result<Outcome, Error> {
        let pid = self.pid;
        self.signal(self.holder.ask(Signal::TERM))?;
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
        /// A time-out of zero is for the polite request; even a killed process needs a moment.
        const DYING: Duration = Duration::from_secs(1);
        // The keeper of a program has a moment to end properly when that is dead.
        for (handle, time) in
            self.program.iter().map(|program| (program, DYING)).chain([(&self.holder, timeout)])
        {
            self.signal(handle.send(Signal::KILL))?;
            if self.is_gone_within(time.max(DYING))? {
                return Ok(Outcome::Killed { pid });
            }
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
        // A program may outlive a keeper that was killed by a moment.
        for handle in [Some(&self.holder), self.program.as_ref()].into_iter().flatten() {
            let gone = wait_readable([Some(handle.as_fd())], deadline)
                .map_err(|error| Error::system("cannot wait for the process to end", error))?;
            if gone == [false] {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
