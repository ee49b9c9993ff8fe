//! Claiming the PID file of a daemon about to be started, or those of many.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::time::Instant;

use crate::config::{Config, Location, Patience};
use crate::error::{Error, Kind};
use crate::sys::fd::deadline_in;
use crate::sys::fs::{Dir, Inode, Missing};
use crate::sys::lock::Byte;
use crate::sys::process::Pid;

use super::access::{no_dir, open_dir, open_or_create};
use super::attempt::{Site, Taken, evict};
use super::look::running_for_a_reader;
use super::orphan::{Lost, perhaps};
use super::{LONG, PidFile, orphan, place};

/// The answer to an attempt to claim a PID file.
pub(crate) enum Claim {
    /// It is ours; `broken` if there was a file whose contents were not a PID.
    Ours { file: PidFile, broken: bool },
    /// A daemon is running.
    Running(Pid),
}

/// Takes the file for a daemon about to be started, making it and its directory if need be. Waits with
/// `patience` for another start in progress, and for a daemon that is about to end.
pub(crate) fn claim(
    location: &Location,
    config: &Config,
    patience: Patience,
) -> Result<Claim, Error> {
    match seize(location, config, patience)? {
        Seized::By(pid) => Ok(Claim::Running(pid)),
        Seized::File(held) => {
            let orphan = orphan::find(location, Some(held.entry()), deadline_in(LONG));
            held.settle(location, config, orphan)
        }
    }
}

/// The same for many: others who have to come to an outcome, or to an end, do so at the same time, and
/// daemons that have lost their files are looked for at once.
pub(crate) fn claim_all<'a>(
    all: impl Iterator<Item = (&'a Location, &'a Config)>,
) -> Vec<Result<Claim, Error>> {
    let began = Instant::now();
    // One after the other in the order of their numbers, and each for good: of two who do so, one gets them all.
    let seized = all.map(|(location, config)| {
        let patience = config.patience().after(began.elapsed());
        (location, config, seize(location, config, patience))
    });
    let seized: Vec<_> = seized.collect();
    let held = seized.iter().filter_map(|(location, _, seized)| match seized {
        Ok(Seized::File(held)) => Some((*location, held.entry())),
        _ => None,
    });
    let deadline = deadline_in(LONG);
    let mut are_without = orphan::are_without(held.collect(), deadline).into_iter();
    let claim = |(location, config, seized): (_, _, Result<_, _>)| match seized? {
        Seized::By(pid) => Ok(Claim::Running(pid)),
        Seized::File(held) => {
            let orphan = match are_without.next() {
                Some(true) => Ok(None),
                _ => orphan::find(location, Some(held.entry()), deadline),
            };
            held.settle(location, config, orphan)
        }
    };
    seized.into_iter().map(claim).collect()
}

/// What has come of seizing a file.
enum Seized {
    File(Held),
    /// Nothing: this daemon has it.
    By(Pid),
}

/// A file whose locks are ours. A daemon may live by another one, which was in its place.
struct Held {
    file: File,
    dir: Dir,
    inode: Inode,
    is_new: bool,
    places: [Byte; 2],
    /// Whether the contents of what was in its place were not a PID.
    was_broken: bool,
}

/// Takes the locks of the file.
fn seize(location: &Location, config: &Config, patience: Patience) -> Result<Seized, Error> {
    let deadline = deadline_in(patience.for_start);
    let (uid, gid) = config.owner();
    let missing = Missing::Make { mode: 0o777 & !config.settings().umask, uid, gid };
    let (mut evictions, mut was_broken) = (0, false);
    // Each further turn is owed to somebody who changed the file between two of our steps.
    loop {
        let dir = open_dir(location, missing).map_err(|error| no_dir(location, error))?;
        let (file, inode, is_new) = match open_or_create(location, &dir) {
            Ok(Some(opened)) => opened,
            Ok(None) => continue,
            Err(error) if error.is_permission_denied() => {
                return running_for_a_reader(location, &dir)?
                    .map_or(Err(error), |pid| Ok(Seized::By(pid)));
            }
            Err(error) => return Err(error),
        };
        let places = place::both(dir.inode(), location);
        let site = Site { location, dir: &dir, file: &file, inode, is_new, places };
        match site.take(&mut evictions, deadline, patience.for_end) {
            Ok(Taken::Nothing) => {}
            Ok(Taken::Cleared { is_broken }) => was_broken |= is_broken,
            Ok(Taken::Place { is_broken }) => {
                was_broken |= is_broken;
                return Ok(Seized::File(Held { file, dir, inode, is_new, places, was_broken }));
            }
            Ok(Taken::By(pid)) => return Ok(Seized::By(pid)),
            Err(error) => {
                site.leave();
                return Err(error);
            }
        }
    }
}

impl Held {
    fn entry(&self) -> (&Dir, Byte) {
        (&self.dir, self.places[0])
    }

    /// Makes the file ours, once it is known whether a daemon has lost another one.
    fn settle(
        self,
        location: &Location,
        config: &Config,
        orphan: io::Result<Option<Lost>>,
    ) -> Result<Claim, Error> {
        let Self { file, dir, inode, is_new, places, was_broken } = self;
        let daemon = match orphan {
            Ok(Some(Lost::Perhaps(pid))) => Err(perhaps(pid)),
            Ok(Some(Lost::Daemon(running))) => Ok(Some(running)),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match daemon.map_err(|error| location.cannot("look for", error)) {
            Ok(None) => {
                let mode = 0o644 & !config.settings().umask;
                let mut file = PidFile { mode, ..PidFile::new(location, file, dir, inode, places) };
                file.put_up_signs(location)?;
                Ok(Claim::Ours { file, broken: was_broken })
            }
            Ok(Some(running)) => {
                // If it is not ours to remove, it was not made just now either, and may stay.
                let _ = evict(location, &dir, inode);
                Err(orphaned(location, running.pid()))
            }
            Err(error) => {
                Site { location, dir: &dir, file: &file, inode, is_new, places }.leave();
                Err(error)
            }
        }
    }
}

fn orphaned(location: &Location, pid: Pid) -> Error {
    let path = &location.path;
    let message = format!(
        "already running with PID {pid}, but somebody has deleted or moved its PID file {path:?}: \
         stop it first"
    );
    Error::new(Kind::Identity, message)
}
