//! Daemons whose PID file has been deleted under them, by a cleaner of temporary files or by hand.
//!
//! The locks are on the file that is gone, where nobody who comes by the path meets them. But the
//! kernel lists all locks with their holders, and a holder's descriptor still tells the path.

#![forbid(unsafe_code)]

use std::io;

use crate::config::Location;
use crate::sys::proc::{self, LockKind};
use crate::sys::process::PidFd;

use super::{LIFE, Running};

/// The daemon that lives by a deleted file of this path, if there is one that this process may
/// examine. Anything else that can be found out by somebody without privileges is no evidence: the
/// process and the owner of the file must be trusted, so that nobody can pose with his own.
pub(super) fn find(location: &Location) -> io::Result<Option<Running>> {
    for (pid, number) in proc::lock_holders(LIFE)? {
        // First the cheap question: anybody may hold thousands of such locks on files of his.
        if !matches!(proc::user(pid), Ok(Some(user)) if location.trusted.includes(user)) {
            continue;
        }
        let Ok(handle) = PidFd::open(pid) else {
            // It has ended, or there are no pidfds here, without which it could not be signalled.
            continue;
        };
        // Who may not be examined cannot be recognized.
        let files = proc::deleted_files(pid).unwrap_or_default();
        let Some(file) = files.iter().find(|file| {
            file.inode.number == number
                && file.path == location.path
                && location.trusted.includes(file.uid)
        }) else {
            continue;
        };
        // Asked now that the pidfd cannot come to mean another process.
        if !proc::holds_lock(pid, file.inode, LockKind::Record, LIFE).unwrap_or(false) {
            continue;
        }
        let running = Running { pid, handle: Ok(handle), inode: file.inode, is_ending: false };
        // A daemon at its end empties the file before it removes it.
        let is_at_its_end = file.is_empty || running.is_dying();
        if !is_at_its_end || !running.is_gone_in_time()? {
            return Ok(Some(running));
        }
    }
    Ok(None)
}
