//! The library's one thread in a daemon: it sleeps until a signal comes, the command `start` has
//! something to say, or a child writes to a standard error that nobody reads any more.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::error::reason;
use crate::listener;
use crate::pid_file::PidFile;
use crate::shutdown::{End, Lifecycle};
use crate::startup::{Newborn, Reply, Report};
use crate::sys::fd::{Guarded, Stream, is_pipe_of, read_available, redirect, wait_readable};
use crate::sys::hooks::forget_in_forked_children;
use crate::sys::rerun::Rerunner;
use crate::sys::signal::Signal;
use crate::sys::signal::arrival::{Arrival, Sender, Signals};
use crate::sys::thread;

use super::complain;
use super::keeper::Kept;
use super::reloader::Reloader;

/// The daemon's connection to the command `start`, for as long as there is one.
pub(super) struct Link {
    newborn: Mutex<Option<Arc<Newborn>>>,
    ready: AtomicBool,
    go: Gate,
    accepted: Gate,
}

/// Something that is waited for, and comes once.
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    const fn new() -> Self {
        Self(Mutex::new(false), Condvar::new())
    }

    fn open(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let is_open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.1.wait_while(is_open, |is_open| !*is_open));
    }
}

impl Link {
    pub(super) fn new(newborn: Newborn) -> Self {
        Self {
            newborn: Mutex::new(Some(Arc::new(newborn))),
            ready: AtomicBool::new(false),
            go: Gate::new(),
            accepted: Gate::new(),
        }
    }

    pub(super) fn newborn(&self) -> Option<Arc<Newborn>> {
        self.newborn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reports, if anybody is still there, and whether that has worked. That nobody is shows elsewhere, as
    /// the end of file.
    pub(super) fn tell(&self, report: &Report) -> bool {
        self.newborn().is_some_and(|newborn| newborn.report(report).is_ok())
    }

    /// Reports what whoever has started this daemon cannot do without, and would wait for in vain: if that
    /// is not possible, it ends.
    pub(super) fn insist(&self, report: &Report, lifecycle: &Lifecycle) {
        let Some(newborn) = self.newborn() else {
            return;
        };
        match newborn.report(report) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe && newborn.is_intact() => {
                let why = format!("cannot report to the command start: {}", reason(&error));
                // Which shows it, where standard error is no file.
                complain(&why);
                lifecycle.finish(&End::of_message(&why))
            }
            // That nobody is there, or the descriptor is gone, shows elsewhere.
            Ok(()) | Err(_) => {}
        }
    }

    /// The worker's `ready()`.
    pub(super) fn ready(&self, lifecycle: &Lifecycle) {
        if !self.ready.swap(true, Ordering::SeqCst) {
            self.insist(&Report::Ready, lifecycle);
        }
    }

    /// Waits until the worker may run: in the foreground, until the parent has said its words.
    pub(super) fn wait_for_go(&self) {
        self.go.wait();
    }

    /// Waits until whoever has made this daemon has accepted it.
    pub(super) fn wait_until_accepted(&self) {
        self.accepted.wait();
    }

    /// Goes on by another channel.
    fn replace(&self, other: Newborn) -> Arc<Newborn> {
        self.close();
        let other = Arc::new(other);
        let mut newborn = self.newborn.lock().unwrap_or_else(PoisonError::into_inner);
        *newborn = Some(Arc::clone(&other));
        other
    }

    fn close(&self) {
        let mut newborn = self.newborn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newborn) = newborn.take() {
            forget_in_forked_children(newborn.as_fd().as_raw_fd());
        }
    }
}

pub(super) struct Sentry {
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) signals: Signals,
    pub(super) link: Arc<Link>,
    pub(super) pid_file: Option<Arc<PidFile>>,
    /// The reading end of the pipe that standard error goes to while the start is watched, and the
    /// null device for afterwards.
    pub(super) errors: Option<(Guarded, Guarded)>,
    pub(super) foreground: bool,
    /// Whether this process takes the PID file over from one that reloads.
    pub(super) is_successor: bool,
    /// The channel to the parent in the foreground that it takes over, too.
    pub(super) to_parent: Option<Newborn>,
    /// Where the daemon is a program, and this process its keeper.
    pub(super) kept: Option<Arc<Kept>>,
    pub(super) reloader: Arc<Reloader>,
    /// For HUP, where that asks for a reload.
    pub(super) on_hup: Option<Rerunner>,
    /// The signals that ask for the end.
    pub(super) end_on: Vec<Signal>,
}

impl Sentry {
    /// Serves until the process ends.
    pub(super) fn watch(&mut self) {
        let mut newborn = self.link.newborn();
        let mut is_accepted = false;
        loop {
            let errors = self.errors.as_ref().filter(|_| is_accepted).map(|(read, _)| read.as_fd());
            let talk = newborn.as_ref().map(|newborn| newborn.as_fd());
            let ready = wait_readable([Some(self.signals.as_fd()), talk, errors], None);
            let [signal, talk, errors] = ready.unwrap_or_else(|error| {
                // poll(2) without memory for long: without this thread the daemon cannot end properly, so
                // it does so while it can.
                let why = format!("cannot wait for signals: {}", reason(&error));
                self.lifecycle.finish(&End::of_message(&why))
            });
            if signal {
                match self.signals.next() {
                    // Without a terminal, the kernel sends HUP only when the guardian leaves while
                    // somebody of the daemon's group is stopped (setpgid(2)). Nobody meant it.
                    Ok(Arrival { signal: Signal::HUP, sender: Sender::Kernel, .. })
                        if !self.foreground => {}
                    Ok(arrival) => self.on_signal(arrival),
                    Err(_) => self.give_up(),
                }
            }
            if talk && let Some(open) = &newborn {
                match open.receive() {
                    Ok(Some(Reply::Go)) => self.link.go.open(),
                    Ok(Some(Reply::Accepted)) => {
                        if self.is_successor {
                            self.take_over();
                            listener::inherit();
                        }
                        if let Some(pid_file) = &self.pid_file {
                            pid_file.end_startup();
                        }
                        is_accepted = true;
                        self.silence();
                        if let Some(parent) = self.to_parent.take() {
                            newborn = Some(self.link.replace(parent));
                        } else if !self.foreground {
                            newborn = None;
                            self.link.close();
                        }
                        self.link.accepted.open();
                        if self.on_hup.is_some() {
                            // Who asks for a reload has an answer also where there is no memory for one.
                            thread::settle();
                        }
                    }
                    Err(_) if !open.is_intact() => self.give_up(),
                    // The command `start` was killed, or gave up: there must be no daemon then.
                    Ok(None) | Err(_) => {
                        newborn = None;
                        let why = match is_accepted {
                            false => "its start was given up",
                            true => "its parent in the foreground has ended",
                        };
                        self.lifecycle.finish_elsewhere(End::of_message(why));
                    }
                }
            }
            if errors {
                self.drain();
            }
        }
    }

    /// The daemon that has reloaded lets go of the PID file: from now on it is ours.
    fn take_over(&self) {
        if let Some(Err(error)) = self.pid_file.as_ref().map(|pid_file| pid_file.take_over()) {
            self.link.tell(&Report::Failed(1, error.to_string()));
            self.lifecycle.finish(&End::of_message(&error.to_string()));
        }
        self.link.insist(&Report::Taken, &self.lifecycle);
        // Not before: the old one would be left without it if that had failed.
        if let Some(pid_file) = &self.pid_file {
            pid_file.keep();
        }
    }

    fn on_signal(&self, arrival: Arrival) {
        // A parent in the foreground who has not heard yet that there is another one.
        if self.reloader.pass_on(arrival) {
            return;
        }
        if let Some(kept) = &self.kept
            && kept.take(arrival, self.pid_file.as_deref())
        {
            return;
        }
        // That the terminal has hung up is something else.
        if let (Some(rerun), Arrival { signal: Signal::HUP, sender, ticket, .. }) =
            (self.on_hup, arrival)
            && sender != Sender::Kernel
        {
            self.reloader.reload_elsewhere(rerun, ticket);
            return;
        }
        if self.end_on.contains(&arrival.signal) {
            let was_daemon = self.reloader.successor.get().is_none();
            self.lifecycle.on_signal(arrival);
            if was_daemon {
                // There may be one by now, who has not seen that somebody has asked.
                self.reloader.pass_on_late();
            }
        }
    }

    /// The worker has closed descriptors that are not its own, the locks among them.
    fn give_up(&self) -> ! {
        self.lifecycle.finish(&End::of_message("its descriptors were closed"))
    }

    /// Sends standard error to the null device from now on, unless the worker has sent it
    /// elsewhere already.
    fn silence(&self) {
        if let Some((read, null)) = &self.errors
            && let (Ok(read), Ok(null)) = (read.get(), null.get())
            && is_pipe_of(Stream::Error, read)
        {
            // dup2(2) over an open descriptor fails only when interrupted, which is retried.
            let _ = redirect(Stream::Error, null);
        }
    }

    /// Reads and forgets what children still write to their inherited standard error. Without a
    /// reader, their next line would kill them.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        if let Some((pipe, _)) = &self.errors {
            let Ok(read) = pipe.get() else { self.give_up() };
            if matches!(read_available(read, &mut buffer), Ok(Some(_))) {
                return;
            }
            forget_in_forked_children(read.as_raw_fd());
            self.errors = None;
        }
    }
}
