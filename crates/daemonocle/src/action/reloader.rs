//! A daemon that reloads: a new process of the same program takes its place, and the old one goes on
//! until that works.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, Kind};
use crate::handover::{Handover, VARIABLE};
use crate::listener::{self, LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID};
use crate::pid_file::PidFile;
use crate::shutdown::{End, Lifecycle};
use crate::startup::{Newborn, Reply, Report, channel};
use crate::sys::answer::{Ticket, answer};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::hooks::{also_close_in_forked_children, forget_in_forked_children, is_copy};
use crate::sys::process::{self, Children, Pid, signal_child};
use crate::sys::program::Group;
use crate::sys::rerun::{Rerun, Rerunner};
use crate::sys::signal::Signal;
use crate::sys::signal::arrival::{Arrival, Sender};
use crate::sys::thread;

use super::coming::Coming;
use super::complain;
use super::sentry::Link;
use super::watch::{Failure, Watch};

/// How the program was started, to be started so again.
pub(super) struct Origin {
    program: io::Result<PathBuf>,
    words: Vec<OsString>,
    dir: io::Result<PathBuf>,
}

impl Origin {
    /// Of this process, while its working directory is still the caller's.
    pub(super) fn here() -> Self {
        Self {
            program: std::env::current_exe(),
            words: std::env::args_os().collect(),
            dir: std::env::current_dir(),
        }
    }
}

/// All that a daemon needs to be succeeded.
pub(super) struct Reloader {
    pub(super) config: Arc<Config>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) link: Arc<Link>,
    pub(super) pid_file: Option<Arc<PidFile>>,
    /// In the foreground, the process that waits there.
    pub(super) parent: Option<Pid>,
    pub(super) origin: Origin,
    /// Whose turn it is to reload.
    pub(super) turn: Mutex<()>,
    /// Where the last one who has asked for a reload awaits an answer: he may ask again.
    pub(super) asker: Mutex<Option<Ticket>>,
    /// How many plain signals have asked since the last reload began.
    pub(super) unanswered: AtomicU32,
    pub(super) coming: Arc<Coming>,
    /// The process that has taken over.
    pub(super) successor: OnceLock<Pid>,
    /// Whether it was given what had come for it while it took over.
    pub(super) is_passed_on: AtomicBool,
}

impl Reloader {
    /// Returns when there is a successor and the worker is expected to return; does not return when
    /// there is one and the worker is ended on the spot.
    pub(super) fn reload(&self, rerun: Rerunner) -> Result<(), Error> {
        let turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(refused("another reload is under way")),
        };
        self.replace(&turn, rerun)?;
        self.lifecycle.end_for_reload();
        Ok(())
    }

    /// Makes another process the daemon.
    fn replace(&self, _turn: &MutexGuard<'_, ()>, rerun: Rerunner) -> Result<Pid, Error> {
        if is_copy() {
            return Err(refused("this process is not the daemon, but a child of it"));
        }
        if self.config.chroot_dir().is_some() {
            let why = "the program cannot be found from inside the chroot directory";
            return Err(refused(why));
        }
        // Before that, the PID file and the channel to the parent are not ours to hand on.
        self.link.wait_until_accepted();
        match self.lifecycle.is_ending() {
            true => Err(refused("the daemon is about to end")),
            false => self.succeed(rerun),
        }
    }

    /// As [`reload`](Self::reload), in a thread of its own, because a signal asks for it. An error goes to
    /// standard error, as whatever else a daemon has to say, and to who awaits an answer.
    pub(super) fn reload_elsewhere(self: &Arc<Self>, rerun: Rerunner, ticket: Option<Ticket>) {
        if ticket.is_none() {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
            // Either it is seen there that somebody has asked, or here that there is a successor.
            if let Some(successor) = self.successor.get() {
                signal_child(*successor, Signal::HUP);
                return;
            }
        }
        let mut last = self.asker();
        if ticket.is_some() && std::mem::replace(&mut *last, ticket) == ticket {
            return;
        }
        let this = Arc::clone(self);
        let reload = move || {
            // At once: who has asked would else ask again.
            let asker = ticket.and_then(|ticket| this.answer(ticket));
            let tell = |report| asker.as_ref().map(|asker| asker.report(&report));
            // One that is under way may not know yet what this one is for.
            let turn = this.turn.lock().unwrap_or_else(PoisonError::into_inner);
            // This one is for all who have asked until now.
            this.unanswered.store(0, Ordering::SeqCst);
            match this.replace(&turn, rerun) {
                Ok(successor) => {
                    let _ = tell(Report::Successor(successor));
                    // Whoever has sent a plain signal since will not ask again.
                    if this.unanswered.load(Ordering::SeqCst) > 0 {
                        signal_child(successor, Signal::HUP);
                    }
                    this.lifecycle.end_for_reload();
                }
                Err(_) if this.lifecycle.is_ending() => {
                    // There may be another one to be asked.
                    let _ = tell(Report::Ending(0, String::new()));
                }
                Err(error) => fail(asker.as_ref(), &error),
            }
        };
        let spawn = || thread::spawn_plain(c"daemonocle-load", Box::new(reload));
        if let Err(error) = thread::require_memory().and_then(|()| spawn()) {
            // He may ask again.
            *last = None;
            drop(last);
            let error = Error::system("cannot reload: cannot start a thread", error);
            fail(ticket.and_then(|ticket| self.answer(ticket)).as_ref(), &error);
        }
    }

    fn asker(&self) -> MutexGuard<'_, Option<Ticket>> {
        self.asker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel to who awaits an answer.
    fn answer(&self, ticket: Ticket) -> Option<Newborn> {
        /// For one who has been stopped.
        const PATIENCE: Duration = Duration::from_secs(1);
        match answer(ticket).and_then(Newborn::inherited) {
            Ok(asker) => {
                // Or he might see too late that it is we who have connected, when we are gone.
                let _ = wait_readable([Some(asker.as_fd())], deadline_in(PATIENCE));
                Some(asker)
            }
            // There is no way from here to there, whoever asks how often.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
            Err(_) => {
                // Nobody hears how this reload went, unless he asks again and counts as another one.
                self.asker().take_if(|last| *last == ticket);
                None
            }
        }
    }

    /// Gives a signal that our parent in the foreground has passed on to the successor, if there is one;
    /// whether there is.
    pub(super) fn pass_on(&self, Arrival { signal, sender, .. }: Arrival) -> bool {
        match (self.successor.get(), sender) {
            (Some(successor), Sender::Process(sender))
                if sender.is_some() && sender == self.parent =>
            {
                signal_child(*successor, signal);
                true
            }
            _ => false,
        }
    }

    fn succeed(&self, rerun: Rerunner) -> Result<Pid, Error> {
        if let Some(pid_file) = &self.pid_file {
            if pid_file.is_lost() {
                return Err(pid_file.lost());
            }
            // Whoever wants to start a daemon waits for the outcome from now on.
            pid_file.begin_startup()?;
        }
        let result = self.make_successor(rerun);
        if let (Err(_), Some(pid_file)) = (&result, &self.pid_file) {
            pid_file.end_startup();
        }
        result
    }

    fn make_successor(&self, rerun: Rerunner) -> Result<Pid, Error> {
        let (starter, newborn) = channel()
            .map_err(|error| Error::system("cannot reload: cannot make a channel", error))?;
        // Or a child that the worker forks meanwhile would keep it open, and the successor would not
        // see our end.
        let number = starter.as_fd().as_raw_fd();
        also_close_in_forked_children(starter.as_fd());
        let successor = match self.coming.make(|| self.spawn(newborn.as_fd(), rerun)) {
            Ok(successor) => successor,
            Err(error) => {
                forget_in_forked_children(number);
                return Err(error);
            }
        };
        drop(newborn);
        let mut watch = Watch::new(&self.config, starter, None, successor);
        let result = self.watch(&mut watch, successor);
        // Before it is closed, and the number somebody else's.
        forget_in_forked_children(number);
        result.map(|()| successor)
    }

    fn spawn(&self, channel: BorrowedFd<'_>, rerun: Rerunner) -> Result<Pid, Error> {
        let program = self.origin.program.as_ref();
        let program =
            program.map_err(|error| refused(&format!("the program cannot be found: {error}")))?;
        let dir = self.origin.dir.as_ref();
        let dir =
            dir.map_err(|error| refused(&format!("its working directory is unknown: {error}")))?;
        let to_parent = self.link.newborn();
        let parent = self.parent.zip(to_parent.as_ref().map(|newborn| newborn.as_fd()));
        let pid_file = self.pid_file.iter().flat_map(|pid_file| pid_file.descriptors()).collect();
        let listener::Passed { names, sockets, given, files } = listener::pass();
        let files = files.iter().map(|(socket, dir, word)| (*socket, dir.as_fd(), word.clone()));
        let worker = self.config.settings().worker;
        let files = files.collect();
        let handover = Handover { given, channel, pid_file, parent, worker, files };
        let mut variables = vec![(VARIABLE, handover.encode(sockets.len()))];
        if !sockets.is_empty() {
            variables.push((LISTEN_FDS, sockets.len().to_string().into()));
            variables.push((LISTEN_FDNAMES, names.join(":").into()));
        }
        let what = Rerun {
            program,
            words: &self.origin.words,
            dir,
            variables,
            pid_variable: (!sockets.is_empty()).then_some(LISTEN_PID),
            group: if self.parent.is_none() { Group::Own } else { Group::Ours },
            pass: sockets.iter().map(AsRawFd::as_raw_fd).chain(handover.descriptors()).collect(),
        };
        rerun(what).map_err(|error| {
            let what = format!("cannot reload: cannot run {program:?} in {dir:?}");
            Error::system(what, error)
        })
    }

    /// Watches the successor come up, and hands the PID file over to it. After an error there is none.
    fn watch(&self, watch: &mut Watch, successor: Pid) -> Result<(), Error> {
        watch.is_named(successor);
        let Err(failure) = watch.until_certain().and_then(|_| self.hand_over(watch, successor))
        else {
            return Ok(());
        };
        watch.put_down(|order| {
            signal_child(successor, order.signal());
            true
        });
        self.coming.kill(successor);
        let died: Option<ExitStatus> =
            process::wait(Children::One(successor)).ok().flatten().map(|(_, status)| status);
        self.coming.forget();
        listener::take_back();
        match (failure, &self.pid_file) {
            // The new one has missed it, and cannot know that it was there.
            (Failure::SetUp(..), Some(pid_file)) if pid_file.is_lost() => Err(pid_file.lost()),
            (failure, _) => Err(watch.explain(failure, died)),
        }
    }

    fn hand_over(&self, watch: &mut Watch, successor: Pid) -> Result<(), Failure> {
        /// Ample for a process that has nothing else to do.
        const TAKING: Duration = Duration::from_secs(10);
        if let Some(pid_file) = self.pid_file.as_ref().filter(|pid_file| pid_file.is_lost()) {
            return Err(Failure::SetUp(1, pid_file.lost().to_string()));
        }
        let too_late = || Failure::System("go on", io::Error::other("the daemon is about to end"));
        let hand_over = || {
            // It may have been asked to end meanwhile, and then there must be no successor.
            // And whatever ends it from now on leaves to that what it is to have.
            let is_let_go = !self.lifecycle.is_ending()
                && listener::let_go()
                && self.pid_file.as_ref().is_none_or(|pid_file| pid_file.let_go());
            if !is_let_go {
                return Err((too_late(), Ok(())));
            }
            let taken = match watch.starter.reply(Reply::Accepted) {
                Ok(()) => watch.until_taken(deadline_in(TAKING)),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Death),
                Err(error) => Err(Failure::System("tell the successor", error)),
            };
            taken.map_err(|failure| (failure, self.take_back(successor)))?;
            self.is_taken_over_by(successor);
            Ok(())
        };
        match self.coming.leave(hand_over) {
            None => Err(too_late()),
            Some(Ok(())) => Ok(()),
            Some(Err((failure, Ok(())))) => Err(failure),
            // Nobody would find the daemon any more. Told here, where its end is not waited for by itself.
            Some(Err((_, Err(error)))) => {
                let why = format!("its successor has died, and {error}");
                self.lifecycle.finish_from_anywhere(End::of_message(&why))
            }
        }
    }

    fn is_taken_over_by(&self, successor: Pid) {
        if let Some(pid_file) = &self.pid_file {
            pid_file.disown();
        }
        listener::leave();
        let _ = self.successor.set(successor);
        if self.parent.is_some() {
            self.link.tell(&Report::Successor(successor));
        }
        self.pass_on_late();
    }

    /// Takes everything back from a successor that has failed.
    fn take_back(&self, successor: Pid) -> Result<(), Error> {
        let Some(pid_file) = &self.pid_file else { return Ok(()) };
        // It must not be in the way.
        signal_child(successor, Signal::KILL);
        process::wait_for_death(successor);
        listener::take_back();
        pid_file.take_back()
    }

    /// A signal that has asked for the end while this process handed over meant the daemon, which is the
    /// successor by now.
    pub(super) fn pass_on_late(&self) {
        if let (Some(successor), Some(signal)) =
            (self.successor.get(), self.lifecycle.first_signal())
            && !self.is_passed_on.swap(true, Ordering::SeqCst)
        {
            signal_child(*successor, signal);
        }
    }
}

/// Tells why there is no successor, and also who has asked for one.
fn fail(asker: Option<&Newborn>, error: &Error) {
    complain(error);
    if let Some(asker) = asker {
        let _ = asker.report(&Report::Failed(error.exit_code(), error.to_string()));
    }
}

pub(super) fn refused(why: &str) -> Error {
    Error::new(Kind::Start, format!("cannot reload: {why}"))
}
