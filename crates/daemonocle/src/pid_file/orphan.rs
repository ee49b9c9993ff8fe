//! Daemons whose PID file is not in its place any more: deleted by a cleaner of temporary files, by
//! hand, or moved.
//!
//! The locks are on the file that is gone, where nobody who comes by the path meets them. But the
//! kernel lists all locks with their holders, and one of the daemon's tells the place.

#![forbid(unsafe_code)]

use std::io;

use crate::config::Location;
use crate::sys::lock::Byte;
use crate::sys::proc;
use crate::sys::proc::files::{HeldLock, LockKind, OpenFile, held_locks, open_files};
use crate::sys::process::{Pid, PidFd};
use crate::sys::user;

use super::{LIFE, Running, place, program};

/// The daemon that lives by a file that was at `location`, if there is one; `place` is its byte,
/// where the directory still exists. Anything that can be brought about by somebody without
/// privileges is no evidence: the process and the owner of the file must be trusted, so that
/// nobody can pose with his own.
pub(super) fn find(location: &Location, place: Option<Byte>) -> io::Result<Option<Running>> {
    let path = place::of_path(location);
    for lock in held_locks(&[place.unwrap_or(path), path])? {
        // First the cheap question: anybody may hold thousands of such locks on files of his.
        // All its users count: a set-user-ID program inherits the locks of whoever runs it.
        let users = proc::users(lock.pid).unwrap_or_default();
        if !location.trusted.is_one_of_us(&users) {
            continue;
        }
        // An error: it has ended, or there are no pidfds here, without which it could not be
        // signalled. Whatever is asked from here on is asked of the process that the pidfd means.
        let Ok(handle) = PidFd::open(lock.pid) else {
            continue;
        };
        let is_ours = users.iter().all(|user| *user == user::effective());
        if let Some(running) = examine(location, place, lock, handle, is_ours)
            && (!running.is_ending || !running.is_gone_in_time()?)
        {
            return Ok(Some(Running { is_ending: false, ..running }));
        }
    }
    Ok(None)
}

/// The permissions of anybody but the owner to write: who has them can lock the file.
const OTHERS_WRITE: u32 = 0o022;

/// The holder of the lock, if it is the daemon of `location`.
fn examine(
    location: &Location,
    place: Option<Byte>,
    lock: HeldLock,
    handle: PidFd,
    is_ours: bool,
) -> Option<Running> {
    let HeldLock { pid, inode, byte } = lock;
    match open_files(pid, None) {
        Ok(files) => {
            let place = place
                .filter(|place| *place == byte)
                .or_else(|| lost_place(location, pid, &files))?;
            let file = files.iter().find(|file| {
                file.inode.number == inode.number
                    && file.is_regular
                    && location.trusted.includes(file.uid)
                    && file.mode & OTHERS_WRITE == 0
                    && [LIFE, place].iter().all(|byte| file.is_locked(LockKind::Record, *byte))
            })?;
            let running = Running::new(pid, Ok(handle), file.inode);
            // A daemon at its end empties the file before it removes it.
            let is_ending = file.is_empty || running.is_dying();
            let look = || Ok(open_files(pid, Some(file.inode))?.into_iter().next());
            let program = program::find_by(look).ok().flatten();
            Some(Running { is_ending, program, ..running })
        }
        Err(error) => {
            let running = Running::new(pid, Ok(handle), inode);
            if running.is_dying() {
                // Nobody but root may look at it any more.
                return Some(Running { is_ending: true, ..running });
            }
            // Who may not be examined is known by this lock alone, and signalled only if nobody but
            // ourselves can have made it: a process of ours with a capability that we have not.
            let handle = if is_ours { running.handle } else { Err(error) };
            (place == Some(byte)).then(|| Running::new(pid, handle, inode))
        }
    }
}

/// The byte for a directory that has been deleted or moved as well: a daemon keeps its own open.
fn lost_place(location: &Location, pid: Pid, files: &[OpenFile]) -> Option<Byte> {
    // In another mount namespace the same path may be that of something else.
    let is_same_tree = proc::shares_mounts(pid).unwrap_or(false);
    let is_lost = |dir: &&OpenFile| is_same_tree || (dir.is_deleted && dir.path == location.dir);
    files
        .iter()
        .filter(|file| file.is_dir)
        .filter(is_lost)
        .map(|dir| place::of_entry(dir.inode, location))
        .find(|place| files.iter().any(|file| file.is_locked(LockKind::Record, *place)))
}
