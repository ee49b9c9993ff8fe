//! The process between `start` and a daemon that detaches: the first of the two forks.
//!
//! It leads the new session until the daemon is started, and is the daemon's parent, whom the
//! kernel tells how it died. When the start is over it is killed, and the daemon is PID 1's.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;

use crate::startup::{Newborn, Report};
use crate::sys::fd::{read_byte, send, wait_readable};
use crate::sys::process::{self, Children, Fork, Pid, PidFd, SingleThreaded, exit_now};
use crate::sys::signal::arrival::Signals;
use crate::sys::signal::{self, Signal};

use super::birth::Birth;

/// Runs in the first child. `leash` comes to its end with the starter, which otherwise ends this process
/// when the start is over.
pub(super) fn run(birth: Option<Birth>, leash: OwnedFd, proof: SingleThreaded) -> ! {
    let Some(birth) = birth else {
        exit_now(libc::EBUSY);
    };
    let fail = |newborn: &Newborn, what: &str, error: io::Error| -> ! {
        let text = format!("cannot {what}: {}", crate::error::reason(&error));
        match newborn.report(&Report::Failed(1, text)) {
            Ok(()) => exit_now(0),
            Err(error) => give_up(&error),
        }
    };
    if let Err(error) = process::new_session() {
        fail(&birth.newborn, "make a session", error);
    }
    // For the daemon, which inherits it, and for us: were SIGCHLD ignored, as a caller may have left
    // it, nobody would learn how the daemon died.
    if let Err(error) = signal::reset() {
        fail(&birth.newborn, "reset signals", error);
    }
    match process::fork(proof) {
        Ok(Fork::Child) => {
            drop(leash);
            birth.live()
        }
        Ok(Fork::Parent(daemon)) => {
            let Birth { newborn, pid_file, worker, hooks, .. } = birth;
            // The claim is the daemon's alone.
            drop(pid_file);
            // What the closures own is the daemon's too: nothing of it may be dropped here.
            std::mem::forget((worker, hooks));
            guard(daemon, &newborn, &leash)
        }
        Err(error) => fail(&birth.newborn, "fork", error),
    }
}

/// What the command `start` asks the guardian to do to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Terminate,
    Kill,
}

impl Order {
    /// Whether there is a guardian to take it.
    pub(super) fn give(self, leash: &OwnedFd) -> bool {
        let byte = match self {
            Self::Terminate => b'T',
            Self::Kill => b'K',
        };
        // It fails only when the guardian is dead.
        send(leash.as_fd(), &[byte]).is_ok()
    }
}

fn guard(daemon: Pid, newborn: &Newborn, leash: &OwnedFd) -> ! {
    // Not before the claim was let go, above: the start is complete only after this is heard.
    if let Err(error) = newborn.report(&Report::Born(daemon)) {
        // The start gives up a daemon that has lost its guardian.
        give_up(&error)
    }
    // The death of a child shows on a pidfd, and where there are none (a seccomp filter) by signal.
    let handle = PidFd::open(daemon).ok();
    let signals = match handle {
        Some(_) => None,
        None => Signals::register(&[Signal::CHLD]).ok(),
    };
    let sign = handle.as_ref().map(AsFd::as_fd).or(signals.as_ref().map(AsFd::as_fd));
    while !process::has_ended(daemon) {
        let [dead, order] = match wait_readable([sign, Some(leash.as_fd())], None) {
            Ok(ready) => ready,
            Err(error) => give_up(&error),
        };
        if order {
            let signal = match read_byte(leash.as_fd()) {
                Ok(Some(b'T')) => Signal::TERM,
                Ok(Some(_)) => Signal::KILL,
                Ok(None) | Err(_) => exit_now(0),
            };
            process::kill_child(daemon, signal);
        } else if dead && let Some(signals) = &signals {
            let _ = signals.next();
        }
    }
    // While the daemon is unburied its number, which is its group's, cannot be anybody else's.
    process::kill_group(daemon);
    if let Ok(Some((_, status))) = process::wait(Children::One(daemon))
        && let Err(error) = newborn.report(&Report::Died(status))
    {
        give_up(&error)
    }
    exit_now(0)
}

/// Ends, and tells why by the exit code: there is no other way left.
fn give_up(error: &io::Error) -> ! {
    exit_now(error.raw_os_error().filter(|code| (1..256).contains(code)).unwrap_or(libc::EIO))
}

/// What a guardian that has ended like this had to say.
pub(super) fn complaint(status: ExitStatus) -> Option<io::Error> {
    status.code().filter(|code| *code != 0).map(io::Error::from_raw_os_error)
}
