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
use crate::sys::is_shortage;
use crate::sys::lock::{Byte, Holder};
use crate::sys::proc;
use crate::sys::proc::files::{LockKind, OpenFile, holds_lock, open_files};
use crate::sys::proc::locks::{HeldLock, Often, Search, listed_locks, locks_by_process, locks_of};
use crate::sys::process::{Pid, PidFd};

use super::{LIFE, LONG, Running, place, program, signs};

/// How long a list may take: ample for the locks of an honest machine.
const BRIEFLY: Duration = Duration::from_millis(500);
/// How often it is read to find somebody...
const A_FEW_TIMES: Often = Often { times: 4, within: BRIEFLY, unless: 2 };
/// ... and to believe that there is nobody, where some may not be looked at, and it is all there is. Somebody
/// who makes readers skip what is behind his own locks succeeds with about every second reading.
const MANY_TIMES: Often = Often { times: 16, within: Duration::from_secs(1), unless: 0 };

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
    let mut wanted = remembering(|pid| {
        let is_trusted = |users: &[u32]| all.iter().any(|(it, _)| it.trusted.is_one_of_us(users));
        proc::users(pid).map_or(true, |users| is_trusted(&users) && !proc::is_set_id(pid))
    });
    if let Ok(Some(found)) = all_locks(&is_sought, &mut wanted) {
        let found = sorted(found.iter().map(|lock| lock.byte));
        let is_found = |byte: &Byte| found.binary_search(byte).is_ok();
        for ((location, (dir, entry)), is_without) in doubtful {
            let markers = || signs::markers(location, dir, *entry);
            *is_without = !bytes_of(location, *entry).iter().any(is_found)
                && markers().is_ok_and(|markers| markers.is_empty());
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
fn all_locks(
    is_sought: &dyn Fn(Byte) -> bool,
    wanted: &mut dyn FnMut(Pid) -> bool,
) -> io::Result<Option<Vec<HeldLock>>> {
    let listed = listed_locks(is_sought, A_FEW_TIMES, wanted, deadline_in(BRIEFLY))?;
    if let Some(Search { found, is_complete: true, .. }) = listed {
        return Ok(Some(found));
    }
    let held = locks_by_process(is_sought, wanted, deadline_in(LONG))?;
    let mut found = listed.map_or_else(Vec::new, |listed| listed.found);
    found.extend(held.found);
    if !held.is_complete {
        match listed_locks(is_sought, MANY_TIMES, wanted, deadline_in(LONG))? {
            Some(listed) if listed.is_over && held.is_over => found.extend(listed.found),
            _ => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// By whose locks a daemon is known: these, and those that stand for them during a reload.
fn bytes(entry: Byte, path: Byte) -> [Byte; 4] {
    [entry, path, place::beside(entry), place::beside(path)]
}

/// Asks about each process once: anybody may hold thousands of such locks on files of his.
fn remembering(judge: impl Fn(Pid) -> bool) -> impl FnMut(Pid) -> bool {
    let mut known: Vec<(Pid, bool)> = Vec::new();
    move |pid| match known.binary_search_by_key(&pid, |(pid, _)| *pid) {
        Ok(place) => known[place].1,
        Err(place) => {
            known.insert(place, (pid, judge(pid)));
            known[place].1
        }
    }
}

fn find_by_locks(location: &Location, entry: Option<(&Dir, Byte)>) -> io::Result<Option<Running>> {
    /// How often a lock that was listed may be gone when its holder is looked at, because he has just handed
    /// over to somebody else. More often than that one is not who is looked for.
    const ROUNDS: usize = 3;
    let deadline = deadline_in(LONG);
    for _ in 0..ROUNDS {
        match look_through(location, entry, deadline)? {
            Answer::Running(running) => return Ok(Some(running)),
            Answer::OutOfSight(pid) => return Err(signs::out_of_sight(pid)),
            Answer::Nobody => break,
            Answer::Changing => {}
        }
    }
    Ok(None)
}

/// What a look through the locks has come to.
enum Answer {
    Running(Running),
    /// Somebody may be the daemon, and may not be looked at. What the lists say of him can be made to: who
    /// shares his descriptors (`CLONE_FILES`, clone(2)) leaves locks behind under a number that is somebody
    /// else's later.
    OutOfSight(Pid),
    /// Somebody had such a lock, and has not any more.
    Changing,
    Nobody,
}

impl Answer {
    /// What two looks have come to: of which the first one may be out of date.
    fn and(self, later: Self) -> Self {
        match (self, later) {
            (_, later @ (Self::Running(_) | Self::OutOfSight(_))) => later,
            (earlier, Self::Nobody) => earlier,
            (Self::OutOfSight(pid), Self::Changing) => Self::OutOfSight(pid),
            (_, later) => later,
        }
    }
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
    // One who cannot be asked for want of a descriptor is asked once more below, and then that is the answer.
    let mut wanted =
        remembering(|pid| users_of(location, pid).map_or(true, |users| users.is_some()));
    let first = |locks: &[HeldLock]| first(location, place, locks, &users_of, deadline);
    let mut answer = Answer::Nobody;
    let listed = listed_locks(&is_sought, A_FEW_TIMES, &mut wanted, deadline_in(BRIEFLY))?;
    if let Some(listed) = &listed {
        answer = first(&listed.found)?;
        if matches!(answer, Answer::Running(_)) || listed.is_complete {
            return Ok(answer);
        }
    }
    let held = locks_by_process(&is_sought, &mut wanted, deadline)?;
    answer = match (answer, first(&held.found)?) {
        // He could be looked at: he is gone, or somebody else.
        (Answer::OutOfSight(_), Answer::Nobody) if held.is_complete => Answer::Changing,
        (earlier, later) => earlier.and(later),
    };
    if matches!(answer, Answer::Running(_)) {
        return Ok(answer);
    }
    let markers = match entry {
        Some((dir, byte)) => signs::markers(location, dir, byte)?,
        None => Vec::new(),
    };
    if location.trusted.is_of_our_own() {
        for marker in &markers {
            // A worker that has made itself somebody else made its marks before.
            if let Holder::Process(pid) = *marker
                && !wanted(pid)
                && let Ok(locks) = locks_of(pid, &is_sought, deadline_in(BRIEFLY))
            {
                answer = answer.and(self::first(location, place, &locks, &anybody, deadline)?);
            }
        }
    }
    if matches!(answer, Answer::Running(_)) || held.is_complete {
        return Ok(answer);
    }
    // There are some who may not be looked at, and for them there is only the list.
    if listed.is_none() {
        return match markers.is_empty() {
            true => Ok(answer),
            false => Err(signs::unseen()),
        };
    }
    let listed = listed_locks(&is_sought, MANY_TIMES, &mut wanted, deadline)?;
    match listed {
        Some(listed) => match answer.and(first(&listed.found)?) {
            Answer::Nobody | Answer::Changing if !listed.is_over => Err(too_many()),
            answer => Ok(answer),
        },
        None => Ok(answer),
    }
}

fn too_many() -> io::Error {
    io::Error::other("there are too many locks to look through (see /proc/locks)")
}

/// The users of a process that may be the daemon. All of them count: a set-user-ID program inherits
/// the locks of whoever runs it.
fn users_of(location: &Location, pid: Pid) -> io::Result<Option<Vec<u32>>> {
    Ok(anybody(location, pid)?.filter(|users| location.trusted.is_one_of_us(users)))
}

/// The same, whose ever it is by now.
fn anybody(location: &Location, pid: Pid) -> io::Result<Option<Vec<u32>>> {
    match proc::users(pid) {
        Ok(users) => {
            Ok(Some(users)
                .filter(|users| !location.trusted.is_lent(users) && !proc::is_set_id(pid)))
        }
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Tells whether a process may be the daemon, by its users.
type Judge<'a> = &'a dyn Fn(&Location, Pid) -> io::Result<Option<Vec<u32>>>;

/// The first of the holders that is the daemon of `location`.
fn first(
    location: &Location,
    place: Option<Byte>,
    locks: &[HeldLock],
    judge: Judge<'_>,
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
        if judge(location, lock.pid)?.is_none() {
            continue;
        }
        match examine(location, place, lock, handle)? {
            Seen::Nobody => match holds_lock(lock.pid, lock.inode, LockKind::Record, lock.byte) {
                // Who has it still is somebody else.
                Ok(true) => {}
                Ok(false) => answer = answer.and(Answer::Changing),
                // Nobody but root may look at one who is dying.
                Err(_) if proc::is_dying(lock.pid) => answer = answer.and(Answer::Changing),
                Err(error) => return Err(error),
            },
            Seen::Nothing => answer = answer.and(Answer::OutOfSight(lock.pid)),
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

/// The permissions of anybody but the owner to write: who has them can lock the file.
const OTHERS_WRITE: u32 = 0o022;

/// What can be seen of the holder of a lock.
enum Seen {
    Daemon(Running),
    /// Somebody else.
    Nobody,
    /// He may not be looked at, and may be the daemon.
    Nothing,
}

/// The holder of the lock, if it is the daemon of `location`.
fn examine(
    location: &Location,
    place: Option<Byte>,
    lock: HeldLock,
    handle: io::Result<PidFd>,
) -> io::Result<Seen> {
    let HeldLock { pid, inode, byte } = lock;
    let running = Running::new(pid, handle, inode);
    let files = open_files(pid, None);
    if running.is_dying() {
        // Nobody but root may look at it any more, and there may be nothing left to be seen.
        return Ok(Seen::Daemon(Running { is_ending: true, ..running }));
    }
    let is_its = |place: Byte| [place, place::beside(place)].contains(&byte);
    match files {
        Ok(files) => {
            let place = match place.filter(|place| is_its(*place)) {
                None => lost_place(location, pid, &files)?,
                place => place,
            };
            let Some(place) = place else {
                return Ok(Seen::Nobody);
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
                return Ok(Seen::Nobody);
            };
            // A daemon at its end empties the file before it removes it.
            let is_ending = file.is_empty;
            let look = || Ok(open_files(pid, Some(file.inode))?.into_iter().next());
            let program = program::find_by(pid, look).ok().flatten();
            Ok(Seen::Daemon(Running { inode: file.inode, is_ending, ..running }.keeping(program)))
        }
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(Seen::Nothing),
    }
}

/// The byte for a directory that has been deleted or moved as well: a daemon keeps its own open.
fn lost_place(location: &Location, pid: Pid, files: &[OpenFile]) -> io::Result<Option<Byte>> {
    // In another mount namespace the same path may be that of something else.
    let is_same_tree = match proc::shares_mounts(pid) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
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
