//! Daemons whose PID file has been deleted under them, by a cleaner of temporary files or by hand.
//!
//! The locks are on the file that is gone, where nobody who comes by the path meets them. But the
//! kernel lists all locks with their holders, and a holder's descriptor still tells the path.

#![forbid(unsafe_code)]

use std::io;

use crate::config::Location;
use crate::sys::proc::{deleted_files, lock_holders};
use crate::sys::process::PidFd;

use super::{LIFE, Running};

/// The daemon that lives by a deleted file of this path, if there is one that this process may
/// examine. Anything else that can be found out by somebody without privileges is no evidence: the
/// file's owner must be somebody trusted, so that nobody can pose with a file of his own.
pub(super) fn find(location: &Location) -> io::Result<Option<Running>> {
    for (pid, inode) in lock_holders(LIFE)? {
        let Ok(handle) = PidFd::open(pid) else {
            // It has ended, or there are no pidfds here, without which it could not be signalled.
            continue;
        };
        let is_ours = |file: &crate::sys::proc::DeletedFile| {
            file.inode == inode && file.path == location.path && location.trusted.includes(file.uid)
        };
        // Who may not be examined cannot be recognized.
        let files = deleted_files(pid).unwrap_or_default();
        let Some(file) = files.iter().find(|file| is_ours(file)) else {
            continue;
        };
        // Asked again, now that the pidfd cannot come to mean another process.
        if !lock_holders(LIFE)?.contains(&(pid, inode)) {
            continue;
        }
        let running = Running { pid, handle: Ok(handle) };
        // A daemon at its end empties the file before it removes it.
        let is_at_its_end = file.is_empty || running.is_dying();
        if !is_at_its_end || !running.is_gone_in_time()? {
            return Ok(Some(running));
        }
    }
    Ok(None)
}
