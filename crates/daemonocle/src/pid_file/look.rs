//! Looking who holds a PID file, and waiting for a start in progress. Changes nothing.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::time::Instant;

use crate::config::Location;
use crate::error::Error;
use crate::sys::fd::{deadline_in, has_passed};
use crate::sys::fs::{Access, Dir, Inode};
use crate::sys::lock::{self, Holder};
use crate::sys::process::{Pid, PidFd};

use super::access::{existing_dir, inode_in, inspect_file, is_unpublished, open_existing};
use super::holder::{self, Presence, Running, Startup};
use super::orphan::{Lost, perhaps};
use super::{LONG, RELOADS, STARTUP, UNREADY, orphan, own, place};

/// Whether this daemon reloads when it is asked to.
pub(crate) fn offers_reload(location: &Location, running: &Running) -> Result<bool, Error> {
    // Without it, it was deleted or moved: whoever is found all the same can only be ended.
    let Some(file) = &running.pin else {
        return Ok(false);
    };
    let holds = |byte| {
        let holder = lock::holder(file, byte);
        let holder = holder.map_err(|error| location.cannot("examine the locks of", error))?;
        Ok::<_, Error>(holder == Some(Holder::Process(running.holder)))
    };
    Ok(holds(RELOADS)? && !holds(UNREADY)?)
}

/// Looks who holds the PID file at `location`. Reads, and changes nothing.
pub(crate) fn look(location: &Location) -> Result<Presence, Error> {
    look_until(location, deadline_in(LONG))
}

fn look_until(location: &Location, deadline: Option<Instant>) -> Result<Presence, Error> {
    // A daemon may have come up since its file was missed, or removed it since it was found. Only one that is
    // found twice, and whose file is missed in between, has lost it. Each further turn is owed to another one.
    let mut suspect = None;
    loop {
        let (presence, dir) = look_in_place(location)?;
        // Where somebody is starting, he may only be about to find that there is a daemon, which has lost its
        // file, and that what he has made is in its place.
        if let Presence::Running(_) = presence {
            return Ok(presence);
        }
        let entry = dir.as_ref().map(|dir| (dir, place::of_entry(dir.inode(), location)));
        let cannot = |error| location.cannot("look for", error);
        let Some(lost) = orphan::find(location, entry, deadline).map_err(cannot)? else {
            return Ok(presence);
        };
        if suspect.replace(lost.holder()) == Some(lost.holder()) {
            return match lost {
                Lost::Daemon(running) => Ok(Presence::Running(running)),
                Lost::Perhaps(pid) => Err(cannot(perhaps(pid))),
            };
        }
        keep_up(location, deadline)?;
    }
}

/// The same for many, of whom those that have lost their files are looked for at once.
pub(crate) fn look_all<'a>(
    all: impl Iterator<Item = &'a Location>,
) -> Vec<Result<Presence, Error>> {
    let looks: Vec<_> = all.map(|location| (location, look_in_place(location))).collect();
    let missed = looks.iter().filter_map(|(location, look)| match look {
        Ok((Presence::Absent { .. } | Presence::Starting, Some(dir))) => {
            Some((*location, (dir, place::of_entry(dir.inode(), location))))
        }
        _ => None,
    });
    let deadline = deadline_in(LONG);
    let mut are_without = orphan::are_without(missed.collect(), deadline).into_iter();
    let looks = looks.into_iter().map(|(location, seen)| match seen? {
        (Presence::Running(running), _) => Ok(Presence::Running(running)),
        (presence, Some(_)) if are_without.next() == Some(true) => Ok(presence),
        _ => look_until(location, deadline),
    });
    looks.collect()
}

/// Who has the file that is in its place, and the directory of that, if there is one.
fn look_in_place(location: &Location) -> Result<(Presence, Option<Dir>), Error> {
    let dir = existing_dir(location)?;
    let presence = match &dir {
        None => Presence::Absent { broken: false },
        Some(dir) => look_in(location, dir)?,
    };
    Ok((presence, dir))
}

/// Gives up when it has been somebody else each time for so long.
pub(crate) fn keep_up(location: &Location, deadline: Option<Instant>) -> Result<(), Error> {
    match has_passed(deadline) {
        true => Err(location.cannot("keep up with", io::ErrorKind::TimedOut.into())),
        false => Ok(()),
    }
}

fn look_in(location: &Location, dir: &Dir) -> Result<Presence, Error> {
    let own = *own();
    if let Some((own, pid)) = own
        && pid == Pid::current()
        && inode_in(location, dir)? == Some(own)
    {
        return Ok(Presence::Running(Running::new(pid, PidFd::open(pid), own)));
    }
    let opened = match open_existing(location, dir, Access::Read) {
        Err(error) if error.is_permission_denied() && is_unpublished(location, dir)? => {
            return Ok(Presence::Starting);
        }
        other => other?,
    };
    match opened {
        None => Ok(Presence::Absent { broken: false }),
        Some((file, inode)) => Ok(match identify(location, dir, &file, inode)? {
            Presence::Running(running) => Presence::Running(Running { pin: Some(file), ..running }),
            other => other,
        }),
    }
}

/// Waits for the outcome of a start in progress until `deadline`; `false`: it passed. Only for
/// somebody who may write to the file.
pub(crate) fn wait_for_outcome(
    location: &Location,
    deadline: Option<Instant>,
) -> Result<bool, Error> {
    let Some(dir) = existing_dir(location)? else {
        return Ok(true);
    };
    match open_existing(location, &dir, Access::ReadWrite)? {
        None => Ok(true),
        Some((file, _)) => lock::wait_shared(&file, STARTUP, deadline)
            .map_err(|error| location.cannot("lock", error)),
    }
}

/// The daemon that is running, for somebody who may read its PID file and not write to it. A file
/// that somebody else could have made says nothing.
pub(super) fn running_for_a_reader(location: &Location, dir: &Dir) -> Result<Option<Pid>, Error> {
    let Ok(Some((file, inode))) = open_existing(location, dir, Access::Read) else {
        return Ok(None);
    };
    match identify(location, dir, &file, inode)? {
        Presence::Running(running) => Ok(Some(running.pid())),
        Presence::Absent { .. } | Presence::Starting => Ok(None),
    }
}

/// Who holds this file, which others may have open too.
fn identify(location: &Location, dir: &Dir, file: &File, inode: Inode) -> Result<Presence, Error> {
    // Whoever could have made the file could pose as the daemon.
    inspect_file(location, file)?;
    let place = place::of_entry(dir.inode(), location);
    holder::identify(location, place, file, inode, Startup::Theirs)
}
