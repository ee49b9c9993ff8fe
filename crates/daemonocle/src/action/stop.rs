//! `stop`: asks, waits until the process is gone, and kills only when told to.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::config::{Location, Settings};
use crate::error::{Error, Kind};
use crate::pid_file::{self, Origin, Presence, Running};
use crate::sys::fd::{deadline_in, has_passed, wait_readable};
use crate::sys::fs::Inode;
use crate::sys::process::{Pid, PidFd};
use crate::sys::signal::Signal;
use crate::sys::{proc, user};

use super::{Event, Events, Outcome, Stop, Verb};
use super::{still_starting, wait_for_start};

pub(crate) fn stop(settings: &Settings, stop: Stop, events: Events<'_>) -> Result<Outcome, Error> {
    let location = settings.locate()?;
    let timeout = stop.timeout.unwrap_or(settings.stop_timeout);
    let deadline = deadline_in(timeout);
    let name = &settings.name;
    match find(&location, name, deadline)? {
        Found::Nobody { broken } => nobody(&location, name, broken, events),
        Found::Running(target) => {
            events(Event::Begin(Verb::Stop));
            let mut ending = Ending::begin(target, timeout, stop.force)?;
            ending.wait(events)?;
            ending.conclude(&location, events)?;
            events(Event::Done);
            Ok(ending.outcome())
        }
    }
}

/// What is to be done where nobody is running.
pub(super) fn nobody(
    location: &Location,
    name: &str,
    broken: bool,
    events: Events<'_>,
) -> Result<Outcome, Error> {
    let path = location.path.display();
    let bystander = pid_file::bystander(location)?;
    let is_removed = bystander.is_none() && pid_file::sweep(location, Origin::Unknown)?;
    if let Some(pid) = bystander {
        let text =
            format!("PID file {path} names process {pid}, which has no lock on it; left as it is");
        events(Event::Warning(text));
    }
    if broken {
        let done = if is_removed { "removed" } else { "left as it is" };
        events(Event::Warning(format!("Empty or broken PID file {path}; {done}")));
    }
    events(Event::Warning(format!("{name} is not running")));
    Ok(Outcome::NotRunning)
}

pub(super) enum Found<'a> {
    Nobody { broken: bool },
    Running(Target<'a>),
}

/// Finds the daemon that is to be stopped, and waits for one that is only just starting.
pub(super) fn find<'a>(
    location: &Location,
    name: &'a str,
    deadline: Option<Instant>,
) -> Result<Found<'a>, Error> {
    let mut has_waited = false;
    loop {
        if let Some(found) = found(pid_file::look(location)?, name)? {
            return Ok(found);
        }
        // Whoever takes the lock of a start again and again does not hold us up for ever.
        if has_waited && has_passed(deadline) {
            return Err(still_starting(name));
        }
        wait_for_start(location, name, deadline)?;
        has_waited = true;
    }
}

/// `None`: it is only just starting.
pub(super) fn found(presence: Presence, name: &str) -> Result<Option<Found<'_>>, Error> {
    Ok(match presence {
        Presence::Absent { broken } => Some(Found::Nobody { broken }),
        Presence::Running(running) => Some(Found::Running(Target::new(name, running)?)),
        Presence::Starting => None,
    })
}

/// One daemon, and no other process, to be ended.
pub(super) struct Target<'a> {
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

    /// What its end is waited for on. A program may outlive a keeper that was killed by a moment.
    fn handles(&self) -> impl Iterator<Item = &PidFd> {
        [Some(&self.holder), self.program.as_ref()].into_iter().flatten()
    }
}

/// How far the end of a daemon is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It was asked to end.
    Asked,
    /// The program that it keeps was killed.
    ProgramKilled,
    Killed,
}

/// A daemon that has been asked to end.
pub(super) struct Ending<'a> {
    target: Target<'a>,
    timeout: Duration,
    force: bool,
    stage: Stage,
    deadline: Option<Instant>,
    /// That it has not ended in time, if it is killed for that: to be told.
    late: Option<Error>,
}

impl<'a> Ending<'a> {
    pub(super) fn begin(target: Target<'a>, timeout: Duration, force: bool) -> Result<Self, Error> {
        target.signal(target.holder.ask(Signal::TERM))?;
        let deadline = deadline_in(timeout);
        Ok(Self { target, timeout, force, stage: Stage::Asked, deadline, late: None })
    }

    /// Waits for its end, and kills it if that is wanted.
    fn wait(&mut self, events: Events<'_>) -> Result<(), Error> {
        while !self.is_over_by(self.deadline)? {
            let insisted = self.insist();
            self.tell(events);
            insisted?;
        }
        Ok(())
    }

    /// Tells that it had to be killed, if that has not been told.
    pub(super) fn tell(&mut self, events: Events<'_>) {
        if let Some(late) = self.late.take() {
            events(Event::Failed(&late));
            events(Event::Begin(Verb::Kill));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What its end is waited for on.
    pub(super) fn handles(&self) -> impl Iterator<Item = &PidFd> {
        self.target.handles()
    }

    /// `false`: its end has not come in time.
    pub(super) fn is_over_by(&self, deadline: Option<Instant>) -> Result<bool, Error> {
        for handle in self.target.handles() {
            let gone = wait_readable([Some(handle.as_fd())], deadline)
                .map_err(|error| Error::system("cannot wait for the process to end", error))?;
            if gone == [false] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// It has not ended in time: kills it, if that is wanted and has not been done.
    pub(super) fn insist(&mut self) -> Result<(), Error> {
        /// A time-out of zero is for the polite request; even a killed process needs a moment, and on a busy
        /// machine several.
        const DYING: Duration = Duration::from_secs(5);
        let Target { pid, program, holder, .. } = &self.target;
        if self.stage == Stage::Asked {
            let message = format!("Timed out while waiting for process (PID {pid}) to terminate");
            let late = Error::new(Kind::TimedOut, message);
            if !self.force {
                return Err(late);
            }
            self.late = Some(late);
        }
        // The keeper of a program has a moment to end properly when that is dead.
        let (handle, time, stage) = match (self.stage, program) {
            (Stage::Asked, Some(program)) => (program, DYING, Stage::ProgramKilled),
            (Stage::Asked, None) | (Stage::ProgramKilled, _) => {
                (holder, self.timeout.max(DYING), Stage::Killed)
            }
            (Stage::Killed, _) => {
                let message =
                    format!("Process (PID {pid}) did not respond to SIGKILL for some reason");
                return Err(Error::new(Kind::TimedOut, message));
            }
        };
        self.target.signal(handle.send(Signal::KILL))?;
        self.stage = stage;
        self.deadline = deadline_in(time);
        Ok(())
    }

    /// What is left to do when it has ended: it may have reloaded just before it was asked, and the one after
    /// it too. But not for ever.
    pub(super) fn conclude(&self, location: &Location, events: Events<'_>) -> Result<(), Error> {
        /// Even a time-out of zero leaves time for some.
        const LEAST: Duration = Duration::from_secs(1);
        let deadline = deadline_in(self.timeout.max(LEAST));
        let mut last: Option<Self> = None;
        loop {
            let target = last.as_ref().map_or(&self.target, |last| &last.target);
            // Without a file it has removed it, or could not. A file that cannot be told is not its
            // successor's: what was to be stopped is gone, and so it is no failure of the stop.
            let next = match fs::symlink_metadata(&location.path) {
                Ok(_) => find(location, target.name, deadline_in(self.timeout)).ok(),
                Err(_) => None,
            };
            match next {
                Some(Found::Running(next)) if next.is_successor_of(target) => {
                    if has_passed(deadline) {
                        let pid = next.pid;
                        let message = format!(
                            "Timed out: there is always another one, now process (PID {pid})"
                        );
                        return Err(Error::new(Kind::TimedOut, message));
                    }
                    let mut ending = Self::begin(next, self.timeout, self.force)?;
                    ending.wait(events)?;
                    last = Some(ending);
                }
                _ => return pid_file::sweep(location, Origin::Daemon(target.inode)).map(drop),
            }
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let pid = self.target.pid;
        match self.stage {
            Stage::Asked => Outcome::Stopped { pid },
            Stage::ProgramKilled | Stage::Killed => Outcome::Killed { pid },
        }
    }
}
