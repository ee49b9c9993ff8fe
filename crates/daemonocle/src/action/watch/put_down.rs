//! Seeing to it that nothing is left of a daemon whose start has failed.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::sys::fd::{deadline_in, wait_readable};

use super::super::guardian::Order;
use super::Watch;

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
        /// Ample for a process that was killed to be gone.
        const DYING: Duration = Duration::from_secs(5);
        if std::mem::replace(&mut self.is_killed, true) {
            return false;
        }
        order(Order::Kill);
        self.deadline = deadline_in(DYING);
        true
    }
}
