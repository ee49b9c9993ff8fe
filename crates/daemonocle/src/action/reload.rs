//! `reload`: asks the daemon to, and waits for its answer. What it then does is in `reloader`.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::config::{Location, Settings};
use crate::error::{Error, Kind};
use crate::pid_file::{self, Presence, Running};
use crate::startup::{Reply, Report, Starter};
use crate::sys::answer::Awaited;
use crate::sys::fd::{deadline_in, has_passed, wait_readable};
use crate::sys::process::{Pid, PidFd};
use crate::sys::signal::Signal;

use super::{Event, Events, Outcome, Verb, wait_for_start};

pub(crate) fn reload(settings: &Settings, events: Events<'_>) -> Result<Outcome, Error> {
    let location = settings.locate()?;
    let name = &settings.name;
    let deadline = deadline_in(settings.longest_start());
    let mut asked: Vec<Pid> = Vec::new();
    let mut doubted = None;
    loop {
        let running = find(&location, name, deadline)?;
        let running = match (running, asked.last()) {
            (Some(running), _) => running,
            (None, None) => {
                events(Event::Warning(format!("{name} is not running")));
                return Ok(Outcome::NotRunning);
            }
            (None, Some(pid)) => return Err(has_ended(name, *pid)),
        };
        let (pid, predecessor) = (running.pid(), running.predecessor);
        // It was made after somebody had been asked who was made after another one had: in time to know
        // what this is about, whoever did the first of the two for what reason.
        if asked.len() > 1 && predecessor == asked.last().copied() {
            events(Event::Done);
            return Ok(Outcome::Reloaded { pid });
        }
        if running.pin.is_none() {
            let path = location.path.display();
            let message = format!(
                "process {pid} cannot reload, since somebody has deleted or moved its PID file {path}: \
                 restart it"
            );
            return Err(Error::new(Kind::Action, message));
        }
        // The signal that asks for it would end any other daemon.
        if !pid_file::offers_reload(&location, &running)? {
            // Nor does one that is handing over just now.
            if doubted.replace(pid) != Some(pid)
                && !has_passed(deadline)
                && pid_file::wait_for_outcome(&location, deadline)?
            {
                continue;
            }
            return Err(Error::new(
                Kind::Action,
                format!(
                    "process {pid} does not reload: it was started without reload_on_hup, or is about to \
                     end"
                ),
            ));
        }
        if asked.is_empty() {
            events(Event::Begin(Verb::Reload));
        }
        asked.push(pid);
        let handle = running.handle.map_err(|error| cannot_ask(name, pid, error))?;
        let request = Request { location: &location, name, pid, handle, deadline };
        if let Some(pid) = request.make()? {
            // Only then is the new one the child of PID 1, which a service manager makes sure of.
            request.wait_for_end(settings.stop_timeout)?;
            // That may have been longer than the new one's life.
            if let Ok(Presence::Absent { .. }) = pid_file::look(&location) {
                return Err(has_died(name, pid));
            }
            events(Event::Done);
            return Ok(Outcome::Reloaded { pid });
        }
    }
}

/// The daemon, if there is one, once its start is over.
fn find(
    location: &Location,
    name: &str,
    deadline: Option<Instant>,
) -> Result<Option<Running>, Error> {
    loop {
        match pid_file::look(location)? {
            Presence::Absent { .. } => return Ok(None),
            Presence::Running(running) => return Ok(Some(running)),
            Presence::Starting => wait_for_start(location, name, deadline)?,
        }
    }
}

/// One reload of one daemon.
struct Request<'a> {
    location: &'a Location,
    name: &'a str,
    pid: Pid,
    handle: PidFd,
    deadline: Option<Instant>,
}

impl Request<'_> {
    /// The PID of the successor that this one has for it; `None`: it has no answer, and may have a successor
    /// for another reason.
    fn make(&self) -> Result<Option<Pid>, Error> {
        /// A signal that meets another one of its kind, not yet seen, is lost.
        const AGAIN: Duration = Duration::from_secs(1);
        let cannot = |error| Error::system("cannot wait for the daemon's answer", error);
        let mut awaited = Awaited::new().map_err(cannot)?;
        while !self.is_late() {
            match self.handle.ask_with(Signal::HUP, Some(awaited.ticket)) {
                // It has ended: below.
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(cannot_ask(self.name, self.pid, error));
                }
                _ => {}
            }
            let again = deadline_in(AGAIN).into_iter().chain(self.deadline).min();
            while again.is_none_or(|again| Instant::now() < again) {
                let fds = [Some(awaited.as_fd()), Some(self.handle.as_fd())];
                match wait_readable(fds, again).map_err(cannot)? {
                    // Before anything else: whoever has its number now is somebody else.
                    [_, true] => return Ok(None),
                    [true, false] => {
                        if let Some(talk) = awaited.accept_from(self.pid).map_err(cannot)?
                            && !self.has_ended().map_err(cannot)?
                        {
                            return self.hear(Starter::of(talk));
                        }
                    }
                    [false, false] => {}
                }
            }
            // It may be in another network namespace, from where there is no answer.
            if self.has_successor()? {
                return Ok(None);
            }
        }
        Err(self.late())
    }

    /// Its answer, as soon as there is one.
    fn hear(&self, talk: Starter) -> Result<Option<Pid>, Error> {
        let cannot = |error| Error::system("cannot hear the daemon's answer", error);
        // It waits for that, but not for ever; and what it has said already can be heard although it is gone.
        let _ = talk.reply(Reply::Go);
        match wait_readable([Some(talk.as_fd())], self.deadline).map_err(cannot)? {
            [false] => Err(self.late()),
            [true] => match talk.receive().map_err(cannot)? {
                Some(Report::Successor(pid)) => Ok(Some(pid)),
                Some(Report::Failed(code, why)) => {
                    Err(Error::new(Kind::Start, why).with_exit_code(code.max(1)))
                }
                // Another reload was before this one, or it dies, and has let go of this before.
                _ => Ok(None),
            },
        }
    }

    /// Whether the process that was asked has ended. One that has not is the one that had its number when
    /// somebody of this number connected.
    fn has_ended(&self) -> io::Result<bool> {
        Ok(wait_readable([Some(self.handle.as_fd())], deadline_in(Duration::ZERO))? == [true])
    }

    /// Waits for the end of the old process, which may have a lot to finish, for so long.
    fn wait_for_end(&self, time: Duration) -> Result<(), Error> {
        let ended = wait_readable([Some(self.handle.as_fd())], deadline_in(time));
        ended.map(drop).map_err(|error| Error::system("cannot wait for the old process", error))
    }

    fn has_successor(&self) -> Result<bool, Error> {
        Ok(match pid_file::look(self.location)? {
            Presence::Running(next) => next.predecessor == Some(self.pid),
            _ => false,
        })
    }

    fn is_late(&self) -> bool {
        has_passed(self.deadline)
    }

    fn late(&self) -> Error {
        let Self { name, pid, .. } = self;
        let message = format!("Timed out while waiting for {name} (PID {pid}) to reload");
        Error::new(Kind::TimedOut, message)
    }
}

fn has_ended(name: &str, pid: Pid) -> Error {
    Error::new(Kind::Start, format!("{name} (PID {pid}) has ended instead of reloading"))
}

fn has_died(name: &str, pid: Pid) -> Error {
    Error::new(Kind::Start, format!("{name} (PID {pid}) has taken over, and ended since"))
}

fn cannot_ask(name: &str, pid: Pid, error: io::Error) -> Error {
    Error::system(format!("cannot signal {name} (PID {pid})"), error)
}
