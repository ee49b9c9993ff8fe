//! What can be seen of a process that may be a daemon whose PID file is not in its place any more.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::Location;
use crate::sys::fd::{deadline_in, has_passed, wait_readable};
use crate::sys::is_shortage;
use crate::sys::lock::Byte;
use crate::sys::proc;
use crate::sys::proc::files::{LockKind, OpenFile, deleted_paths, holds_lock, open_files};
use crate::sys::proc::locks::HeldLock;
use crate::sys::process::{Pid, PidFd};

use super::{LIFE, Running, place, program};

/// What a look at those who have the locks has come to.
pub(super) enum Answer {
    Running(Running),
    /// Somebody may be the daemon, and may not be looked at, or has nothing that proves it. What the lists say
    /// of him can be made to: who shares his descriptors (`CLONE_FILES`, clone(2)) leaves locks behind under a
    /// number that is somebody else's later.
    Perhaps(Pid),
    /// Somebody had such a lock, and has not any more.
    Changing,
    Nobody,
}

impl Answer {
    /// What two looks have come to: of which the first one may be out of date.
    pub(super) fn and(self, later: Self) -> Self {
        match (self, later) {
            (_, later @ (Self::Running(_) | Self::Perhaps(_))) => later,
            (earlier, Self::Nobody) => earlier,
            (Self::Perhaps(pid), Self::Changing) => Self::Perhaps(pid),
            (_, later) => later,
        }
    }
}

pub(super) fn too_many() -> io::Error {
    io::Error::other("there are too many locks to look through (see /proc/locks)")
}

/// Whether a process may be the daemon, by its users. All of them count: a set-user-ID program inherits the
/// locks of whoever runs it.
pub(super) fn is_one_of_us(location: &Location, pid: Pid) -> io::Result<bool> {
    match proc::users(pid) {
        Ok(users) => Ok(location.trusted.is_one_of_us(&users) && !proc::is_set_id(pid)),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

/// The first of the holders that is the daemon of `location`.
pub(super) fn first(
    location: &Location,
    place: Option<Byte>,
    locks: &[HeldLock],
    deadline: Option<Instant>,
) -> io::Result<Answer> {
    let mut answer = Answer::Nobody;
    for &lock in locks {
        if has_passed(deadline) {
            return Err(too_many());
        }
        // Whatever is asked from here on is asked of the process that the pidfd means. Where there are none,
        // it cannot be signalled either.
        let handle = match PidFd::open(lock.pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                answer = answer.and(Answer::Changing);
                continue;
            }
            Err(error) if is_shortage(&error) => return Err(error),
            other => other,
        };
        if !is_one_of_us(location, lock.pid)? {
            continue;
        }
        match examine(location, place, lock, handle, deadline)? {
            Seen::Nobody => match holds_lock(lock.pid, lock.inode, LockKind::Record, lock.byte) {
                // Who has it still is somebody else.
                Ok(true) => {}
                Ok(false) => answer = answer.and(Answer::Changing),
                // Nobody but root may look at one who is dying.
                Err(_) if proc::is_dying(lock.pid) => answer = answer.and(Answer::Changing),
                Err(error) => return Err(error),
            },
            Seen::Perhaps(handle) => {
                answer = answer.and(match is_about_to_end(handle)? {
                    true => Answer::Changing,
                    false => Answer::Perhaps(lock.pid),
                });
            }
            Seen::Daemon(running) if running.is_ending && is_gone(&running)? => {}
            Seen::Daemon(running) => {
                return Ok(Answer::Running(Running { is_ending: false, ..running }));
            }
        }
    }
    Ok(answer)
}

/// Whether it has ended, or does so in good time.
fn is_gone(running: &Running) -> io::Result<bool> {
    // Where there are no pidfds, only what /proc says by then tells.
    let is_dead = |stat: proc::Stat| stat.is_dead();
    Ok(running.is_gone_in_time()? || proc::stat(running.holder)?.is_none_or(is_dead))
}

/// Whether somebody ends of whom it cannot be seen that he is about to.
fn is_about_to_end(handle: io::Result<PidFd>) -> io::Result<bool> {
    const SOON: Duration = Duration::from_millis(200);
    match handle {
        Ok(handle) => Ok(wait_readable([Some(handle.as_fd())], deadline_in(SOON))? == [true]),
        Err(_) => Ok(false),
    }
}

/// A daemon of this location whose worker has made itself a user whom nobody here trusts, and whose PID file was
/// deleted: nobody else has that open, under that path, on the kernel's word.
pub(super) fn find_stray(
    location: &Location,
    place: Byte,
    deadline: Option<Instant>,
) -> io::Result<Option<Running>> {
    for pid in strays(&|path| path == location.path, deadline)? {
        let handle = PidFd::open(pid);
        let is_lent = |users: Vec<u32>| location.trusted.is_lent(&users);
        if proc::users(pid).map_or(true, is_lent) || proc::is_set_id(pid) {
            continue;
        }
        let Ok(files) = open_files(pid, None, deadline) else { continue };
        let file = files.iter().find(|file| is_its(location, file, place));
        if let Some(file) = file.filter(|file| was_in_place(location, file)) {
            return Ok(Some(Running::new(pid, handle, file.inode)));
        }
    }
    Ok(None)
}

/// Who has a deleted file of such a path open.
pub(super) fn strays(
    is_sought: &dyn Fn(&Path) -> bool,
    deadline: Option<Instant>,
) -> io::Result<Vec<Pid>> {
    /// A daemon has its PID file open before its worker opens anything.
    const FIRST: usize = 32;
    let mut strays = Vec::new();
    for pid in proc::all()? {
        if has_passed(deadline) {
            return Err(too_many());
        }
        if deleted_paths(pid, FIRST).iter().any(|path| is_sought(path)) {
            strays.push(pid);
        }
    }
    Ok(strays)
}

/// The permissions of anybody but the owner to write: who has them can lock the file.
const OTHERS_WRITE: u32 = 0o022;

/// What can be seen of the holder of a lock.
enum Seen {
    Daemon(Running),
    /// Somebody else.
    Nobody,
    /// He may be the daemon, and may not be looked at, or nothing proves it.
    Perhaps(io::Result<PidFd>),
}

/// The holder of the lock, if it is the daemon of `location`.
fn examine(
    location: &Location,
    place: Option<Byte>,
    lock: HeldLock,
    handle: io::Result<PidFd>,
    deadline: Option<Instant>,
) -> io::Result<Seen> {
    let HeldLock { pid, inode, byte } = lock;
    let running = Running::new(pid, handle, inode);
    let files = open_files(pid, None, deadline);
    if running.is_dying() {
        // Nobody but root may look at it any more, and there may be nothing left to be seen.
        return Ok(Seen::Daemon(Running { is_ending: true, ..running }));
    }
    let is_place = |place: Byte| [place, place::beside(place)].contains(&byte);
    match files {
        Ok(files) => {
            let place = match place.filter(|place| is_place(*place)) {
                None => lost_place(location, pid, &files)?,
                place => place,
            };
            let Some(place) = place else {
                return Ok(Seen::Nobody);
            };
            let is_same = |file: &&OpenFile| file.inode.number == inode.number;
            let file = files.iter().filter(is_same).find(|file| is_its(location, file, place));
            let Some(file) = file else {
                return Ok(Seen::Nobody);
            };
            // Who has got hold of another file of ours, as his standard output for one, can lock that.
            if !was_in_place(location, file) && !proc::is_our_program(pid) {
                return Ok(Seen::Perhaps(running.handle));
            }
            // A daemon at its end empties the file before it removes it.
            let is_ending = file.is_empty;
            let look = || Ok(open_files(pid, Some(file.inode), deadline)?.into_iter().next());
            let program = program::find_by(pid, look).ok().flatten();
            Ok(Seen::Daemon(Running { inode: file.inode, is_ending, ..running }.keeping(program)))
        }
        Err(error) if is_shortage(&error) => Err(error),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(too_many()),
        Err(_) => Ok(Seen::Perhaps(running.handle)),
    }
}

/// Whether it can be the PID file, and has the locks of a daemon, or those that stand for them in a reload.
fn is_its(location: &Location, file: &OpenFile, place: Byte) -> bool {
    file.is_regular
        && location.trusted.includes(file.uid)
        && file.mode & OTHERS_WRITE == 0
        && (has(file, place::beside(place)) || [LIFE, place].iter().all(|byte| has(file, *byte)))
}

/// Whether the kernel knows it as a file that was in this place.
fn was_in_place(location: &Location, file: &OpenFile) -> bool {
    file.is_deleted && file.path == location.path
}

/// The byte for a directory that has been deleted or moved as well: a daemon keeps its own open.
fn lost_place(location: &Location, pid: Pid, files: &[OpenFile]) -> io::Result<Option<Byte>> {
    // In another mount namespace the same path may be that of something else.
    let is_same_tree = match proc::shares_mounts(pid) {
        Err(error) if proc::is_gone(&error) => false,
        other => other?,
    };
    let is_lost = |dir: &&OpenFile| is_same_tree || (dir.is_deleted && dir.path == location.dir);
    let dirs = files.iter().filter(|file| file.is_dir).filter(is_lost);
    let place = dirs.map(|dir| place::of_entry(dir.inode, location)).find(|place| {
        let bytes = [*place, place::beside(*place)];
        files.iter().any(|file| bytes.iter().any(|byte| has(file, *byte)))
    });
    Ok(place)
}

/// Whether the lock is one that makes its holder the daemon, or tells that he is.
fn has(file: &OpenFile, byte: Byte) -> bool {
    file.is_locked(LockKind::Record, byte)
}
