//! The process that a daemon which reloads has made, for as long as it is not certain that it will take over.
//!
//! It must not outlive a daemon that ends before that, whose PID file it shares: its worker may be running
//! already, and the next daemon would be beside it.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::error::Error;
use crate::sys::fd::{deadline_in, has_passed, wait_readable};
use crate::sys::process::{self, Pid, PidFd, signal_child};
use crate::sys::signal::Signal;

use super::reloader::refused;

pub(super) struct Coming {
    expectation: Mutex<Expectation>,
    /// Whether it is about to take over.
    takes_over: AtomicBool,
    /// Whether it leads a group of its own.
    leads_group: bool,
}

enum Expectation {
    Nobody,
    /// This child.
    Process(Pid),
    /// Nobody, and nobody any more: this process is ending.
    Over,
}

impl Coming {
    pub(super) fn new(leads_group: bool) -> Self {
        let expectation = Mutex::new(Expectation::Nobody);
        Self { expectation, takes_over: AtomicBool::new(false), leads_group }
    }

    fn lock(&self) -> MutexGuard<'_, Expectation> {
        self.expectation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is made now, unless it is too late.
    pub(super) fn make(&self, make: impl FnOnce() -> Result<Pid, Error>) -> Result<Pid, Error> {
        let mut expectation = self.lock();
        if let Expectation::Over = *expectation {
            return Err(refused("the daemon is about to end"));
        }
        let pid = make()?;
        *expectation = Expectation::Process(pid);
        Ok(pid)
    }

    /// If `hand_over` works, it is left to itself from then on; `None`: it is too late for that. Until it is
    /// certain, for twelve seconds at most, this process does not [end](Self::end), or nobody would know who
    /// is the daemon.
    pub(super) fn leave<E>(
        &self,
        hand_over: impl FnOnce() -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let mut expectation = self.lock();
        if let Expectation::Over = *expectation {
            return None;
        }
        self.takes_over.store(true, Ordering::SeqCst);
        let result = hand_over();
        self.takes_over.store(false, Ordering::SeqCst);
        if result.is_ok() {
            *expectation = Expectation::Nobody;
        }
        Some(result)
    }

    /// Kills it, and whatever it has made. While it is unburied its number, which is its group's, is its own.
    pub(super) fn kill(&self, successor: Pid) {
        signal_child(successor, Signal::KILL);
        if self.leads_group && process::is_child(successor) {
            process::kill_group(successor);
        }
    }

    /// It has died, and been buried.
    pub(super) fn forget(&self) {
        let mut expectation = self.lock();
        if let Expectation::Process(_) = *expectation {
            *expectation = Expectation::Nobody;
        }
    }

    /// This process is about to end: nobody will take over any more.
    pub(super) fn end(&self) {
        /// Ample for a process that was killed to be gone.
        const DYING: Duration = Duration::from_secs(1);
        /// More than a handover may take.
        const TAKING: Duration = Duration::from_secs(12);
        const PAUSE: Duration = Duration::from_millis(1);
        let (deadline, long) = (deadline_in(DYING), deadline_in(TAKING));
        let is_late = || {
            let takes_over = self.takes_over.load(Ordering::SeqCst);
            has_passed(if takes_over { long } else { deadline })
        };
        // It may be stuck where it is about to become the program. It ends by itself then, with its channel.
        let mut expectation = loop {
            match self.expectation.try_lock() {
                Ok(expectation) => break expectation,
                Err(TryLockError::Poisoned(expectation)) => break expectation.into_inner(),
                Err(TryLockError::WouldBlock) if is_late() => return,
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        };
        if let Expectation::Process(pid) = *expectation {
            let handle = PidFd::open(pid);
            self.kill(pid);
            // Where it cannot be waited for, the end of its channel ends it.
            let _ =
                handle.and_then(|handle| wait_readable([Some(handle.as_fd())], deadline_in(DYING)));
        }
        *expectation = Expectation::Over;
    }
}
