//! Seeing to it that nothing is left of a daemon whose start has failed.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::Duration;

use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::proc;
use crate::sys::process::{self, Pid, PidFd};
use crate::sys::signal::Signal;

use super::super::guardian::Order;
use super::Watch;

/// Ample for a process that was killed to be gone.
const DYING: Duration = Duration::from_secs(5);

impl Watch {
    /// Sees to it that nothing is left of a daemon whose start has failed.
    pub(in crate::action) fn put_down(&mut self, order: impl Fn(Order) -> bool) {
        self.begin_to_put_down(&order);
        while !self.is_over() {
            if let Ok(ready @ ([true, _] | [_, true])) =
                wait_readable([self.talk(), self.errors()], self.deadline)
            {
                let [talk, errors] = ready;
                if self.take(talk, errors).is_ok() {
                    continue;
                }
            }
            if !self.insist(&order) {
                break;
            }
        }
        self.drain();
    }

    /// Tells the daemon to end, unless it is over.
    pub(in crate::action) fn begin_to_put_down(&mut self, order: impl Fn(Order) -> bool) {
        if !self.is_over() {
            if self.ending.is_none() && !order(Order::Terminate) {
                // Without a guardian to order about: the end of the channel ends the daemon.
                self.starter.hang_up();
            }
            self.deadline = deadline_in(self.patience);
        }
    }

    /// The daemon that was told to end has not, in time; whether there is anything left to wait for.
    pub(in crate::action) fn insist(&mut self, order: impl Fn(Order) -> bool) -> bool {
        if std::mem::replace(&mut self.is_killed, true) {
            return false;
        }
        order(Order::Kill);
        self.deadline = deadline_in(DYING);
        true
    }

    /// Kills the daemon, and who is of its process group, where its guardian has not: that is dead, or somebody
    /// keeps it stopped.
    pub(in crate::action) fn end_unguarded(&self, guardian: Pid) {
        let Some(daemon) = self.daemon.filter(|_| !self.is_over()) else {
            return;
        };
        // As long as its leader is unburied, the number of the session is nobody else's; and who is in it is
        // ours, whatever has become of the numbers.
        let is_ours = |pid| {
            process::is_child(guardian)
                && process::session_of(pid).is_ok_and(|session| session == guardian.get())
        };
        let mut group = proc::group(daemon.get()).unwrap_or_default();
        group.push(daemon);
        let mut killed = Vec::with_capacity(group.len());
        for pid in group {
            // Asked after the handle was opened.
            let Ok(handle) = PidFd::open(pid) else { continue };
            if is_ours(pid) {
                let _ = handle.send(Signal::KILL);
                killed.push(handle);
            }
        }
        let deadline = deadline_in(DYING);
        for handle in killed {
            let _ = wait_readable([Some(handle.as_fd())], deadline);
        }
    }
}
