//! Daemons whose PID file is not in its place any more: deleted by a cleaner of temporary files, by
//! hand, or moved.
//!
//! The locks are on the file that is gone, where nobody who comes by the path meets them. But the
//! kernel lists all locks with their holders, and one of the daemon's tells the place.

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::Location;
use crate::sys::fd::deadline_in;
use crate::sys::fs::Dir;
use crate::sys::lock::Byte;
use crate::sys::proc;
use crate::sys::proc::locks::{HeldLock, Often, Search, listed_locks, locks_by_process};
use crate::sys::process::Pid;

use super::suspect::{Answer, find_stray, first, is_one_of_us, strays, too_many};
use super::{Running, place, signs};

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
    deadline: Option<Instant>,
) -> io::Result<Option<Lost>> {
    if signs::are_absent(location, entry) {
        return Ok(None);
    }
    let found = find_by_locks(location, entry, deadline)?;
    if let (None, Some((dir, byte))) = (&found, entry) {
        signs::require_visible(location, dir, byte)?;
    }
    Ok(found)
}

/// Who lives by a file that was there.
pub(super) enum Lost {
    Daemon(Running),
    /// He may, and whether he does is not to be known.
    Perhaps(Pid),
}

impl Lost {
    pub(super) fn holder(&self) -> Pid {
        match self {
            Self::Daemon(running) => running.holder,
            Self::Perhaps(pid) => *pid,
        }
    }
}

/// What there is to be said of somebody who may be the daemon.
pub(super) fn perhaps(pid: Pid) -> io::Error {
    io::Error::other(format!("PID {pid} may be the daemon that has lost it, and nothing proves it"))
}

/// Of which of these it is certain that there is no such daemon, by one look at all locks where the signs
/// do not tell. Who is not certain has to be looked for by himself.
pub(super) fn are_without(
    all: Vec<(&Location, (&Dir, Byte))>,
    deadline: Option<Instant>,
) -> Vec<bool> {
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
    let is_wanted = |pid| {
        let is_trusted = |users: &[u32]| all.iter().any(|(it, _)| it.trusted.is_one_of_us(users));
        proc::users(pid).map_or(true, |users| is_trusted(&users) && !proc::is_set_id(pid))
    };
    let mut wanted = remembering(&is_wanted);
    if let Ok(Some(found)) = all_locks(&is_sought, &mut wanted, deadline) {
        let found = sorted(found.iter().map(|lock| lock.byte));
        let is_found = |byte: &Byte| found.binary_search(byte).is_ok();
        // As `find_stray` looks for one: nobody is left if nobody has such a file.
        let is_lost = |path: &Path| doubtful.iter().any(|((it, _), _)| it.path == path);
        let is_any_marked = || {
            doubtful
                .iter()
                .any(|((it, (dir, entry)), _)| signs::are_marked(it, dir, *entry).unwrap_or(true))
        };
        if is_any_marked() && strays(&is_lost, deadline).map_or(true, |all| !all.is_empty()) {
            return are_without;
        }
        for ((location, (dir, entry)), is_without) in doubtful {
            *is_without = !bytes_of(location, *entry).iter().any(is_found)
                && signs::require_visible(location, dir, *entry).is_ok();
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
    deadline: Option<Instant>,
) -> io::Result<Option<Vec<HeldLock>>> {
    let listed = listed_locks(is_sought, A_FEW_TIMES, wanted, deadline_in(BRIEFLY))?;
    if let Some(Search { found, is_complete: true, .. }) = listed {
        return Ok(Some(found));
    }
    let held = locks_by_process(is_sought, wanted, deadline)?;
    let mut found = listed.map_or_else(Vec::new, |listed| listed.found);
    found.extend(held.found);
    if !held.is_complete {
        match listed_locks(is_sought, MANY_TIMES, wanted, deadline)? {
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
fn remembering<'a>(judge: &'a dyn Fn(Pid) -> bool) -> impl FnMut(Pid) -> bool + 'a {
    let mut known: Vec<(Pid, bool)> = Vec::new();
    move |pid| match known.binary_search_by_key(&pid, |(pid, _)| *pid) {
        Ok(place) => known[place].1,
        Err(place) => {
            known.insert(place, (pid, judge(pid)));
            known[place].1
        }
    }
}

fn find_by_locks(
    location: &Location,
    entry: Option<(&Dir, Byte)>,
    deadline: Option<Instant>,
) -> io::Result<Option<Lost>> {
    /// How often a lock that was listed may be gone when its holder is looked at, because he has just handed
    /// over to somebody else. More often than that one is not who is looked for.
    const ROUNDS: usize = 3;
    for _ in 0..ROUNDS {
        match look_through(location, entry, deadline)? {
            Answer::Running(running) => return Ok(Some(Lost::Daemon(running))),
            Answer::Perhaps(pid) => return Ok(Some(Lost::Perhaps(pid))),
            Answer::Nobody => break,
            Answer::Changing => {}
        }
    }
    Ok(None)
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
    let is_wanted = |pid| is_one_of_us(location, pid).unwrap_or(true);
    let mut wanted = remembering(&is_wanted);
    let first = |locks: &[HeldLock]| first(location, place, locks, deadline);
    let mut answer = Answer::Nobody;
    let listed = listed_locks(&is_sought, A_FEW_TIMES, &mut wanted, deadline_in(BRIEFLY))?;
    if let Some(listed) = &listed {
        answer = first(&listed.found)?;
        if matches!(answer, Answer::Running(_)) || listed.is_complete {
            return Ok(answer);
        }
    }
    let held = locks_by_process(&is_sought, &mut wanted, deadline)?;
    answer = answer.and(first(&held.found)?);
    if matches!(answer, Answer::Running(_)) {
        return Ok(answer);
    }
    let is_marked = match entry {
        Some((dir, byte)) => signs::are_marked(location, dir, byte)?,
        None => false,
    };
    if let Some(place) = place
        && is_marked
        && location.trusted.is_of_our_own()
        && let Some(running) = find_stray(location, place, deadline)?
    {
        return Ok(Answer::Running(running));
    }
    if held.is_complete {
        return Ok(answer);
    }
    // There are some who may not be looked at, and for them there is only the list.
    match listed_locks(&is_sought, MANY_TIMES, &mut wanted, deadline)? {
        None if is_marked => Err(signs::unseen()),
        None => Ok(answer),
        Some(listed) => match answer.and(first(&listed.found)?) {
            Answer::Nobody | Answer::Changing if !listed.is_over => Err(too_many()),
            answer => Ok(answer),
        },
    }
}
