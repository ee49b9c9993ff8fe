//! Daemons whose PID file is not in its place any more: deleted by a cleaner of temporary files, by
//! hand, or moved.
//!
//! The locks are on the file that is gone, where nobody who comes by the path meets them. But the
//! kernel lists all locks with their holders, and one of the daemon's tells the place.

#![forbid(unsafe_code)]

use std::io;
use std::time::{Duration, Instant};

use crate::config::Location;
use crate::sys::fd::{deadline_in, has_passed};
use crate::sys::fs::Dir;
use crate::sys::lock::{Byte, Holder};
use crate::sys::proc;
use crate::sys::proc::files::{LockKind, OpenFile, holds_lock, open_files};
use crate::sys::proc::locks::{HeldLock, Search, listed_locks, locks_by_process};
use crate::sys::process::{Pid, PidFd};
use crate::sys::{is_shortage, user};

use super::{LIFE, LONG, Running, place, program, signs};

/// How long a list may take: ample for the locks of an honest machine.
const BRIEFLY: Duration = Duration::from_millis(500);
/// How often it is read if it comes in pieces, between which it may change.
const READINGS: usize = 4;

/// The daemon that lives by a file that was at `location`, if there is one; `entry` is the directory and
/// the byte of the file there, where the directory still exists. Anything that can be brought about by somebody without
/// privileges is no evidence: the process and the owner of the file must be trusted, so that
/// nobody can pose with his own.
///
/// Nor must he be able to delay the answer: an error if it cannot be given in time, for a second
/// daemon would be worse.
pub(super) fn find(
    location: &Location,
    entry: Option<(&Dir, Byte)>,
) -> io::Result<Option<Running>> {
    if signs::are_absent(location, entry) {
        return Ok(None);
    }
    let found = find_by_locks(location, entry)?;
    if let (None, Some((dir, byte))) = (&found, entry) {
        signs::require_visible(location, dir, byte)?;
    }
    Ok(found)
}

/// Of which of these it is certain that there is no such daemon, by one look at all locks where the signs
/// do not tell. Who is not certain has to be looked for by himself.
pub(super) fn are_without(all: Vec<(&Location, (&Dir, Byte))>) -> Vec<bool> {
    let bytes_of = |location: &Location, entry: Byte| bytes(entry, place::of_path(location));
    let mut are_without: Vec<_> =
        all.iter().map(|(location, entry)| signs::are_absent(location, Some(*entry))).collect();
    let doubtful = all.iter().zip(&mut are_without).filter(|(_, is_without)| !**is_without);
    let doubtful: Vec<_> = doubtful.collect();
    if doubtful.is_empty() {
        return are_without;
    }
    let sought = doubtful.iter().flat_map(|((location, (_, entry)), _)| bytes_of(location, *entry));
    let sought = sorted(sought);
    let is_sought = |byte| sought.binary_search(&byte).is_ok();
    if let Some(Search { found, is_complete, .. }) = all_locks(&is_sought) {
        let found = sorted(found.iter().map(|lock| lock.byte));
        let is_found = |byte: &Byte| found.binary_search(byte).is_ok();
        for ((location, (dir, entry)), is_without) in doubtful {
            *is_without = !bytes_of(location, *entry).iter().any(is_found)
                && match is_complete {
                    true => signs::require_visible(location, dir, *entry).is_ok(),
                    // As in `look_through`, of those who may not be looked at.
                    false => signs::markers(location, dir, *entry).is_ok_and(|all| all.is_empty()),
                };
        }
    }
    are_without
}

fn sorted(bytes: impl Iterator<Item = Byte>) -> Vec<Byte> {
    let mut bytes: Vec<_> = bytes.collect();
    bytes.sort_unstable();
    bytes
}

/// All such locks, whoever holds them; `None`: not in time.
fn all_locks(is_sought: &dyn Fn(Byte) -> bool) -> Option<Search> {
    let listed = listed_locks(is_sought, READINGS, &mut |_| true, deadline_in(BRIEFLY)).ok()?;
    if listed.is_complete {
        return Some(listed);
    }
    let held = locks_by_process(is_sought, &mut |_| true, deadline_in(LONG)).ok()?;
    held.is_over.then_some(Search { found: [listed.found, held.found].concat(), ..held })
}

/// By whose locks a daemon is known: these, and those that stand for them during a reload.
fn bytes(entry: Byte, path: Byte) -> [Byte; 4] {
    [entry, path, place::beside(entry), place::beside(path)]
}

fn find_by_locks(location: &Location, entry: Option<(&Dir, Byte)>) -> io::Result<Option<Running>> {
    /// How often a lock that was listed may be gone when its holder is looked at, because he has just handed
    /// over to somebody else. More often than that one is not who is looked for.
    const ROUNDS: usize = 3;
    let deadline = deadline_in(LONG);
    for _ in 0..ROUNDS {
        match look_through(location, entry, deadline)? {
            Answer::Running(running) => return Ok(Some(running)),
            Answer::Nobody => break,
            Answer::Changing => {}
        }
    }
    Ok(None)
}

/// What a look through the locks has come to.
enum Answer {
    Running(Running),
    Nobody,
    /// Somebody had such a lock, and has not any more.
    Changing,
}

fn look_through(
    location: &Location,
    entry: Option<(&Dir, Byte)>,
    deadline: Option<Instant>,
) -> io::Result<Answer> {
    let place = entry.map(|(_, byte)| byte);
    let path = place::of_path(location);
    let bytes = bytes(place.unwrap_or(path), path);
    let is_sought = |byte| bytes.contains(&byte);
    // Anybody may hold thousands of such locks on files of his.
    let mut known: Vec<(Pid, bool)> = Vec::new();
    let mut wanted = |pid| match known.binary_search_by_key(&pid, |(pid, _)| *pid) {
        Ok(place) => known[place].1,
        Err(place) => {
            // One who cannot be asked for want of a descriptor is asked once more below, and then that
            // is the answer.
            let is_wanted = users_of(location, pid).map_or(true, |users| users.is_some());
            known.insert(place, (pid, is_wanted));
            known[place].1
        }
    };
    let first = |search: &Search| first(location, place, &search.found, deadline);
    let mut listed = listed_locks(&is_sought, READINGS, &mut wanted, deadline_in(BRIEFLY))?;
    let mut answer = first(&listed)?;
    if matches!(answer, Answer::Running(_)) || listed.is_complete {
        return Ok(answer);
    }
    let held = locks_by_process(&is_sought, &mut wanted, deadline)?;
    match first(&held)? {
        Answer::Nobody => {}
        other => answer = other,
    }
    if matches!(answer, Answer::Running(_)) || held.is_complete {
        return Ok(answer);
    }
    // There are some who may not be looked at. One of them that is the daemon has made its mark; and if he
    // has, or somebody has in whose shadow he might, there is the list.
    let markers = match entry {
        Some((dir, byte)) => Some(signs::markers(location, dir, byte)?),
        None => None,
    };
    if markers.as_ref().is_some_and(Vec::is_empty) {
        return Ok(answer);
    }
    if !listed.is_over {
        listed = listed_locks(&is_sought, 1, &mut wanted, deadline)?;
    }
    let is_out_of_sight = |marker: &Holder| matches!(marker, Holder::Process(pid) if wanted(*pid) && !proc::may_be_examined(*pid));
    match first(&listed)? {
        Answer::Running(running) => Ok(Answer::Running(running)),
        _ if !listed.is_over => Err(too_many()),
        _ if markers.iter().flatten().any(is_out_of_sight) => Err(signs::out_of_sight()),
        answer => Ok(answer),
    }
}

fn too_many() -> io::Error {
    io::Error::other("there are too many locks to look through (see /proc/locks)")
}

/// The users of a process that may be the daemon. All of them count: a set-user-ID program inherits
/// the locks of whoever runs it.
fn users_of(location: &Location, pid: Pid) -> io::Result<Option<Vec<u32>>> {
    match proc::users(pid) {
        Ok(users) => Ok(Some(users)
            .filter(|users| location.trusted.is_one_of_us(users) && !proc::is_set_id(pid))),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The first of the holders that is the daemon of `location`.
fn first(
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
                answer = Answer::Changing;
                continue;
            }
            Err(error) if is_shortage(&error) => return Err(error),
            other => other,
        };
        let Some(users) = users_of(location, lock.pid)? else {
            continue;
        };
        let is_ours = users.iter().all(|user| *user == user::effective());
        match examine(location, place, lock, handle, is_ours)? {
            None => match holds_lock(lock.pid, lock.inode, LockKind::Record, lock.byte) {
                // Who has it still is somebody else.
                Ok(true) => {}
                Ok(false) => answer = Answer::Changing,
                // Nobody but root may look at one who is dying.
                Err(_) if proc::is_dying(lock.pid) => answer = Answer::Changing,
                Err(error) => return Err(error),
            },
            Some(running) if running.is_ending && is_gone(&running)? => {}
            Some(running) => {
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

/// The permissions of anybody but the owner to write: who has them can lock the file.
const OTHERS_WRITE: u32 = 0o022;

/// The holder of the lock, if it is the daemon of `location`.
fn examine(
    location: &Location,
    place: Option<Byte>,
    lock: HeldLock,
    handle: io::Result<PidFd>,
    is_ours: bool,
) -> io::Result<Option<Running>> {
    let HeldLock { pid, inode, byte } = lock;
    let running = Running::new(pid, handle, inode);
    let files = open_files(pid, None);
    if running.is_dying() {
        // Nobody but root may look at it any more, and there may be nothing left to be seen.
        return Ok(Some(Running { is_ending: true, ..running }));
    }
    let is_its = |place: Byte| [place, place::beside(place)].contains(&byte);
    match files {
        Ok(files) => {
            let place =
                place.filter(|place| is_its(*place)).or_else(|| lost_place(location, pid, &files));
            let Some(place) = place else {
                return Ok(None);
            };
            let file = files.iter().find(|file| {
                file.inode.number == inode.number
                    && file.is_regular
                    && location.trusted.includes(file.uid)
                    && file.mode & OTHERS_WRITE == 0
                    && (has(file, place::beside(place))
                        || [LIFE, place].iter().all(|byte| has(file, *byte)))
            });
            let Some(file) = file else {
                return Ok(None);
            };
            // A daemon at its end empties the file before it removes it.
            let is_ending = file.is_empty;
            let look = || Ok(open_files(pid, Some(file.inode))?.into_iter().next());
            let program = program::find_by(pid, look).ok().flatten();
            Ok(Some(Running { inode: file.inode, is_ending, ..running }.keeping(program)))
        }
        Err(error) if is_shortage(&error) => Err(error),
        Err(error) => {
            // Who may not be examined is known by this lock alone, and signalled only if nobody but
            // ourselves can have made it: a process of ours with a capability that we have not.
            let handle = if is_ours { running.handle } else { Err(error) };
            Ok(place.is_some_and(is_its).then(|| Running::new(pid, handle, inode)))
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
        .find(|place| {
            let bytes = [*place, place::beside(*place)];
            files.iter().any(|file| bytes.iter().any(|byte| has(file, *byte)))
        })
}

/// Whether the lock is one that makes its holder the daemon, or tells that he is.
fn has(file: &OpenFile, byte: Byte) -> bool {
    file.is_locked(LockKind::Record, byte)
}
