//! `start`: claims the PID file, makes the daemon, and watches it until the outcome is certain.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Config, Detach, Settings, Startup};
use crate::error::{Error, Kind};
use crate::handover;
use crate::listener;
use crate::pid_file::{self, Claim, Origin, PidFile};
use crate::startup::{Newborn, Reply, Starter, channel};
use crate::sys::fd::{dev_null, ensure_standard_streams, is_socket, pipe, socket_pair};
use crate::sys::fs::Inode;
use crate::sys::proc;
use crate::sys::process::{self, Children, Fork, Pid, SingleThreaded};
use crate::sys::signal::Signal;
use crate::worker::Worker;

use super::birth::{Birth, ErrorPipe, Hooks, Place};
use super::guardian::{Reins, Seed};
use super::successor::{is_worker, succeed};
use super::watch::{Failure, Watch};
use super::{Event, Events, Outcome, Start, Verb, cannot, foreground, guardian};

/// What is started: only the new process takes the worker and the hooks out, so that the caller
/// has them still and may start again.
pub(crate) struct Subject {
    pub(crate) worker: Mutex<Option<Worker>>,
    pub(crate) hooks: Mutex<Hooks>,
}

impl Subject {
    /// Whether it is another program, not a function of this one.
    pub(super) fn is_program(&self) -> bool {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*worker, Some(Worker::Program(_)))
    }

    /// Takes the sockets that were passed to this program. To another one they are left as they are.
    pub(super) fn adopt_sockets(&self, proof: SingleThreaded) -> Result<(), Error> {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        match *worker {
            Some(Worker::Function(_)) => listener::adopt(None, proof),
            _ => Ok(()),
        }
    }

    /// For the new process.
    pub(super) fn birth(
        &self,
        config: Arc<Config>,
        pid_file: Option<Arc<PidFile>>,
        newborn: Newborn,
        place: Place,
    ) -> Option<Birth> {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let hooks = Hooks { start: hooks.start.take(), shutdown: hooks.shutdown.take() };
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Birth { config, worker, hooks, pid_file, newborn, place })
    }
}

pub(crate) fn start(
    settings: &Settings,
    subject: &Subject,
    start: Start,
    events: Events<'_>,
) -> Result<Outcome, Error> {
    if handover::is_waiting() {
        let Err(error) = succeed(subject, |worker| is_worker(settings, worker));
        return Err(error);
    }
    let mut launch = match prepare(settings, subject) {
        Ok(Prepared::Launch(launch)) => launch,
        Ok(Prepared::Running(pid)) => {
            let name = &settings.name;
            events(Event::Warning(format!("{name} already running with PID {pid}")));
            return Ok(Outcome::AlreadyRunning { pid });
        }
        Err(error) => {
            events(Event::Begin(Verb::Start));
            return Err(error);
        }
    };
    if let Some(warning) = launch.warning() {
        events(Event::Warning(warning));
    }
    events(Event::Begin(Verb::Start));
    let result = if start.foreground || !is_detaching(settings.detach) {
        foreground::run(&mut launch, subject, events)
    } else {
        launch.detached(subject, events)
    };
    if result.is_err() {
        launch.clear_away();
    }
    result
}

pub(super) enum Prepared {
    Launch(Launch),
    Running(Pid),
}

/// All that comes before the first process is made.
fn prepare(settings: &Settings, subject: &Subject) -> Result<Prepared, Error> {
    let (config, proof) = check(settings, subject)?;
    subject.adopt_sockets(proof)?;
    ensure_standard_streams().map_err(|error| cannot("open /dev/null", error))?;
    let claim = config.location.as_ref();
    let claim = claim.map(|location| pid_file::claim(location, &config, config.patience()));
    let claim = claim.transpose()?;
    Ok(Launch::of(config, claim, proof))
}

/// Everything that is certain to make a start fail, found out before anything is done.
pub(super) fn check(
    settings: &Settings,
    subject: &Subject,
) -> Result<(Config, SingleThreaded), Error> {
    let proof = check_worker(settings, subject)?;
    Ok((settings.validate()?, proof))
}

/// That part of it which is the same for all of many workers.
pub(super) fn check_worker(
    settings: &Settings,
    subject: &Subject,
) -> Result<SingleThreaded, Error> {
    match &*subject.worker.lock().unwrap_or_else(PoisonError::into_inner) {
        None => {
            let name = &settings.name;
            return Err(Error::definition(format!("no worker is defined for {name}")));
        }
        Some(Worker::Program(_)) if matches!(settings.startup, Startup::Ready(_)) => {
            let message = "ready_timeout: a program cannot call ready(), and has started when it \
                           has lived for a second";
            return Err(Error::definition(message));
        }
        Some(Worker::Program(_)) if settings.on_hup().is_some() => {
            let message = "reload_on_hup: a program cannot reload, and gets HUP itself: leave \
                           reload_on_hup out";
            return Err(Error::definition(message));
        }
        Some(Worker::Program(exec)) => exec.check()?,
        Some(Worker::Function(_)) => {}
    }
    SingleThreaded::check().map_err(too_many_threads)
}

pub(super) fn too_many_threads(count: u32) -> Error {
    let count = match count {
        0 => "several".to_owned(),
        count => count.to_string(),
    };
    Error::new(
        Kind::System,
        format!(
            "cannot start from a process that has {count} threads, because fork(2) copies only one: \
             start threads and runtimes inside the worker (for tokio: run_async, and a main without #[tokio::main])"
        ),
    )
}

pub(super) fn is_detaching(detach: Detach) -> bool {
    match detach {
        Detach::Always => true,
        Detach::Never => false,
        Detach::Auto => {
            let is_first = Pid::current().get() == 1;
            let by_first = process::parent().is_some_and(|parent| parent.get() == 1)
                && std::env::var_os("PIDFILE").is_none()
                && !proc::is_in_container();
            !is_first && !by_first && !is_socket(io::stdin().as_fd())
        }
    }
}

/// A start under way, on the side of the command.
pub(super) struct Launch {
    pub(super) config: Arc<Config>,
    /// Ours until the start has succeeded.
    pub(super) pid_file: Option<Arc<PidFile>>,
    /// Which file it is, for afterwards.
    pub(super) inode: Option<Inode>,
    /// Whether there was a PID file with something else than a PID in it.
    was_broken: bool,
    pub(super) proof: SingleThreaded,
}

impl Launch {
    /// One whose PID file, if it has one, was claimed.
    pub(super) fn of(config: Config, claim: Option<Claim>, proof: SingleThreaded) -> Prepared {
        let (pid_file, was_broken) = match claim {
            Some(Claim::Running(pid)) => return Prepared::Running(pid),
            Some(Claim::Ours { file, broken }) => (Some(Arc::new(file)), broken),
            None => (None, false),
        };
        let inode = pid_file.as_ref().map(|file: &Arc<PidFile>| file.inode());
        Prepared::Launch(Self { config: Arc::new(config), pid_file, inode, was_broken, proof })
    }

    /// What is odd about the PID file that was there.
    pub(super) fn warning(&self) -> Option<String> {
        let path = self.config.pid_file().filter(|_| self.was_broken)?.display();
        Some(format!("Empty or broken PID file {path}; replacing it"))
    }

    fn detached(&mut self, subject: &Subject, events: Events<'_>) -> Result<Outcome, Error> {
        let null = open_null()?;
        let Lines { starter, newborn, errors } = self.connect()?;
        // Open for as long as this start goes on; its end tells the guardian that the starter is dead.
        let (leash, hold) = make_leash()?;
        process::flush_streams();
        let guardian = match process::fork(self.proof).map_err(|error| cannot("fork", error))? {
            Fork::Child => {
                drop((starter, hold));
                let seed = self.seed(newborn, errors);
                guardian::run(vec![seed], subject, null, leash, None, self.proof)
            }
            Fork::Parent(pid) => pid,
        };
        drop((newborn, leash));
        let errors = errors.map(|pipe| pipe.read);
        let mut watch = Watch::new(&self.config, starter, errors, guardian);
        match watch.until_certain().and_then(|pid| self.announce(&mut watch, pid)) {
            Ok(pid) => {
                let pid = watch.public_pid(pid);
                // The guardian's end is all that is waited for. The rest is done meanwhile.
                dismiss(guardian);
                drop((hold, watch));
                events(Event::Done);
                bury(guardian);
                Ok(Outcome::Started { pid })
            }
            Err(failure) => {
                // Our own child, not yet waited for.
                let reins = Reins { hold, guardian };
                watch.put_down(|order| order.give(&reins, 0));
                watch.end_unguarded(guardian);
                dismiss(guardian);
                drop(reins);
                let failure = match (failure, bury(guardian).and_then(guardian::complaint)) {
                    (Failure::Death, Some(error)) if watch.knows_nothing() => {
                        Failure::System("hear the daemon", error)
                    }
                    (failure, _) => failure,
                };
                Err(watch.explain(failure, None))
            }
        }
    }

    pub(super) fn connect(&self) -> Result<Lines, Error> {
        let (starter, newborn) = channel().map_err(|error| cannot("make a channel", error))?;
        let errors = match self.config.stderr_file() {
            Some(_) => None,
            None => {
                let (read, write) = pipe().map_err(|error| cannot("make a pipe", error))?;
                Some(ErrorPipe { read, write })
            }
        };
        Ok(Lines { starter, newborn, errors })
    }

    /// What the guardian needs. For the guardian: the claim is taken along.
    pub(super) fn seed(&mut self, newborn: Newborn, errors: Option<ErrorPipe>) -> Seed {
        let (config, pid_file) = (Arc::clone(&self.config), self.pid_file.take());
        Seed { config, pid_file, newborn, errors }
    }

    pub(super) fn birth(
        &mut self,
        subject: &Subject,
        newborn: Newborn,
        place: Place,
    ) -> Option<Birth> {
        subject.birth(Arc::clone(&self.config), self.pid_file.take(), newborn, place)
    }

    /// The start has succeeded: makes sure that others will find the daemon, leaves the PID file to
    /// it, and tells it so.
    pub(super) fn announce(&mut self, watch: &mut Watch, daemon: Pid) -> Result<Pid, Failure> {
        match self.pid_file.as_ref().map(|pid_file| pid_file.is_held_by(daemon)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) if proc::is_dying(daemon) => return Err(Failure::Death),
            Some(Ok(false)) => return Err(Failure::Lost),
            Some(Err(error)) => return Err(Failure::System("examine the PID file", error)),
        }
        // Before the answer, upon which nobody but the daemon must have it.
        self.pid_file = None;
        match watch.starter.reply(Reply::Accepted) {
            Ok(()) => Ok(daemon),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Death),
            Err(error) => Err(Failure::System("tell the daemon", error)),
        }
    }

    pub(super) fn clear_away(&self) {
        // The error to be told is why the start failed; a PID file that stays blocks nobody.
        match (&self.pid_file, &self.config.location, self.inode) {
            (Some(pid_file), ..) => drop(pid_file.remove()),
            (None, Some(location), Some(inode)) => {
                drop(pid_file::sweep(location, Origin::Daemon(inode)));
            }
            _ => {}
        }
    }
}

/// What a new daemon and the start that makes it have in common.
pub(super) struct Lines {
    pub(super) starter: Starter,
    pub(super) newborn: Newborn,
    pub(super) errors: Option<ErrorPipe>,
}

impl Lines {
    /// Of both ends.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let errors = self.errors.iter().flat_map(|pipe| [pipe.read.as_fd(), pipe.write.as_fd()]);
        errors.chain([self.starter.as_fd(), self.newborn.as_fd()])
    }
}

pub(super) fn open_null() -> Result<OwnedFd, Error> {
    dev_null().map_err(|error| cannot("open /dev/null", error))
}

/// Two ends: for the guardian, and for the start.
pub(super) fn make_leash() -> Result<(OwnedFd, OwnedFd), Error> {
    socket_pair().map_err(|error| cannot("make a channel", error))
}

/// Lets the guardian go. It has nothing left to do, and is killed: its own way out is longer, and
/// closed to one that somebody has stopped.
pub(super) fn dismiss(guardian: Pid) {
    process::signal_child(guardian, Signal::KILL);
}

/// Waits for the guardian's end. Once it is gone the daemon belongs to PID 1, as everybody expects
/// of it.
pub(super) fn bury(guardian: Pid) -> Option<ExitStatus> {
    // It fails only if somebody else has buried it.
    process::wait(Children::One(guardian)).ok().flatten().map(|(_, status)| status)
}
