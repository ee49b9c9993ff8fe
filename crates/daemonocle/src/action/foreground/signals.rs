//! What signals the parent in the foreground hears, and how.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys::signal::arrival::Queue;
use crate::sys::signal::{Blocked, Signal};

/// What is passed on to the daemon, with words.
pub(super) const FORWARDED: [Signal; 6] =
    [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::USR2];

/// What is taken from the queue.
fn taken() -> Vec<Signal> {
    [&FORWARDED[..], &[Signal::CONT, Signal::CHLD]].concat()
}

/// Holds all of them back, so that they can be heard by way of [`Signals`].
pub(super) fn block() -> io::Result<Blocked> {
    Blocked::new(&[taken(), vec![Signal::TSTP]].concat())
}

pub(super) struct Signals {
    pub(super) queue: Queue,
    /// Shows that there is a TSTP. It is never taken, so that a CONT can undo it (signal(7)).
    stop: Queue,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { queue: Queue::new(&taken())?, stop: Queue::new(&[Signal::TSTP])? })
    }

    /// Of the queue, and of the TSTP.
    pub(super) fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.queue.as_fd()), Some(self.stop.as_fd())]
    }
}
