//! What signals the parent in the foreground hears, and how.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys::signal::arrival::Queue;
use crate::sys::signal::{Blocked, Signal};

/// What is passed on to the daemon, with words.
pub(super) const FORWARDED: [Signal; 6] =
    [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::USR2];

/// What is heard: all these, what ends a stop and what ends a child, and last what stops.
const HEARD: [Signal; 9] = {
    let [a, b, c, d, e, f] = FORWARDED;
    [a, b, c, d, e, f, Signal::CONT, Signal::CHLD, Signal::TSTP]
};

/// Holds all of them back, so that they can be heard by way of [`Signals`].
pub(super) fn block() -> io::Result<Blocked> {
    Blocked::new(&HEARD)
}

pub(super) struct Signals {
    pub(super) queue: Queue,
    /// Shows that there is a TSTP. It is never taken, so that a CONT can undo it (signal(7)).
    stop: Queue,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let (taken, stop) = HEARD.split_at(HEARD.len() - 1);
        Ok(Self { queue: Queue::new(taken)?, stop: Queue::new(stop)? })
    }

    /// Of the queue, and of the TSTP.
    pub(super) fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.queue.as_fd()), Some(self.stop.as_fd())]
    }
}
