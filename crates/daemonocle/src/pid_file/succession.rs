//! Handing a PID file over, from a daemon that reloads to its successor: the claim is shared all the
//! time, and the rest is let go by the one and taken by the other.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::Duration;

use crate::config::Location;
use crate::error::{Error, Kind};
use crate::sys::fd::{close_for_good, deadline_in};
use crate::sys::fs::{Dir, Meta, inode_of};
use crate::sys::lock::{self, Byte, Holder};
use crate::sys::process::Pid;

use super::access::is_sole_in_place;
use super::life::Life;
use super::program::MOST_PIDS;
use super::signs::Signs;
use super::{CLAIM, LIFE, PidFile, RELOADS, STARTUP, STAYING, own, place};

/// The byte of the PID that there is not, 0, among those by which a successor names its predecessor.
const PREDECESSORS: i64 = 1 << 33;

const ALL: RangeInclusive<Byte> = Byte(PREDECESSORS)..=Byte(PREDECESSORS + MOST_PIDS);

pub(super) fn byte_of(predecessor: Pid) -> Byte {
    Byte(PREDECESSORS + i64::from(predecessor.get()))
}

/// Whose place the process `holder` has taken, as it says itself; `None`: nobody's.
pub(super) fn predecessor_of(file: &File, holder: Pid) -> io::Result<Option<Pid>> {
    Ok(match lock::holder_among(file, ALL)? {
        Some((Holder::Process(pid), Byte(byte))) if pid == holder => {
            i32::try_from(byte - PREDECESSORS).ok().and_then(Pid::new)
        }
        _ => None,
    })
}

impl PidFile {
    /// Makes everybody wait who wants to start a daemon, for a successor is on its way.
    pub(crate) fn begin_startup(&self) -> Result<(), Error> {
        /// Another start holds this lock only while it looks who holds the others.
        const LOOKING: Duration = Duration::from_secs(5);
        let taken = || {
            Ok(lock::try_shared(&self.file, STARTUP)?
                || (lock::wait_shared(&self.file, STARTUP, deadline_in(LOOKING))?
                    && lock::try_shared(&self.file, STARTUP)?)
                // A reader is in the way. Without it, whoever starts a daemon finds this one or the other.
                || !lock::is_shared_held(&self.file, STARTUP)?)
        };
        match taken().map_err(|error| self.cannot("lock", error))? {
            true => Ok(()),
            false => Err(self.locked()),
        }
    }

    /// Lets a successor, which shares the claim, take everything else. `false`: too late, this process is
    /// ending, and the file is removed already.
    pub(crate) fn let_go(&self) -> bool {
        // Whatever ends this process from now on leaves the file alone.
        if !std::mem::replace(&mut *self.is_ours(), false) {
            return false;
        }
        let [entry, path] = self.places;
        // At every moment somebody must be found, also where the file is not in its place any more. Where a
        // reader is in the way, or there is no memory for them, it is done without.
        for byte in self.places.map(place::beside) {
            let _ = lock::try_own(&self.file, byte);
        }
        // Cannot fail for locks that are held. `LIFE` first: who has it has all of them.
        for byte in [LIFE, STAYING, RELOADS, path, entry] {
            let _ = lock::release_own(&self.file, byte);
        }
        true
    }

    /// The successor has the file: this process has nothing to do with it any more.
    pub(crate) fn disown(&self) {
        *own() = None;
        for fd in self.descriptors() {
            // If it fails, for lack of memory, the claim is shared until this process ends.
            let _ = close_for_good(fd);
        }
    }

    /// The file of a daemon that reloads, as its successor has inherited it, by what it was
    /// [held](Self::descriptors) by.
    pub(crate) fn inherited(
        location: &Location,
        descriptors: Vec<OwnedFd>,
        predecessor: Pid,
    ) -> Result<Self, Error> {
        let cannot = |error| location.cannot("examine", error);
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().ok_or(io::ErrorKind::InvalidInput.into());
        let (file, dir) = (next().map_err(cannot)?, next().map_err(cannot)?);
        let (file, dir) = (File::from(file), Dir::inherited(dir).map_err(cannot)?);
        let inode = Meta::of(&file).map_err(cannot)?.inode;
        let wrong = |why: &str| {
            let path = &location.path;
            Err(Error::new(Kind::Identity, format!("PID file {path:?}: {why}")))
        };
        if inode_of(&location.dir).is_some_and(|its| its != dir.inode())
            || !is_sole_in_place(location, &dir, inode)?
        {
            return wrong("the daemon that reloads has another one");
        }
        let holder = lock::holder(&file, LIFE).map_err(cannot)?;
        if holder != Some(Holder::Process(predecessor)) {
            return wrong("it is not the daemon that reloads who hands it over");
        }
        // The claim of the description that we share; nobody else has it.
        if !lock::try_shared(&file, CLAIM).map_err(cannot)? {
            return wrong("the daemon that reloads does not hold it");
        }
        let (predecessor, is_ours) = (Some(predecessor), Mutex::new(false));
        let places = place::both(dir.inode(), location);
        let signs = Signs::inherited(descriptors);
        let file = Self::new(location, file, dir, inode, places);
        Ok(Self { predecessor, is_ours, signs, ..file })
    }

    /// As [`begin_life`](Self::begin_life), for the successor of a daemon that has let go of the file. Until
    /// that has heard of it, and the file is [kept](Self::keep), it may still be that one's.
    pub(crate) fn take_over(&self) -> Result<(), Error> {
        self.take_life(Life::Handed)?;
        self.write_pid(Pid::current())
    }

    /// From now on this process removes the file at its end.
    pub(crate) fn keep(&self) {
        *self.is_ours() = true;
    }

    /// For a daemon that has let go of the file, if there is no successor after all.
    pub(crate) fn take_back(&self) -> Result<(), Error> {
        self.take_life(Life::Back)?;
        for byte in self.places.map(place::beside) {
            // Cannot fail, whether it is held or not.
            let _ = lock::release_own(&self.file, byte);
        }
        self.keep();
        self.write_pid(Pid::current())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::config::Settings;
    use crate::pid_file::{Claim, claim};

    /// One process is both here, which its record locks cannot tell.
    #[test]
    fn a_successor_leaves_the_file_alone_until_it_keeps_it()
    -> std::result::Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let mut settings = Settings::new("example".into());
        settings.pid_file = Some(dir.path().join("example.pid"));
        let config = settings.validate()?;
        let location = config.location.as_ref().ok_or("no PID file")?;
        let Claim::Ours { file: old, .. } = claim(location, &config, config.patience())? else {
            return Err("somebody has it".into());
        };
        old.begin_life()?;
        let (dir, is_ours) = (Dir::inherited(old.dir.as_fd().try_clone_to_owned()?)?, false);
        let new = PidFile::new(location, old.file.try_clone()?, dir, old.inode, old.places);
        let new = PidFile { is_ours: Mutex::new(is_ours), ..new };
        assert!(old.let_go());
        new.take_over()?;
        new.remove()?;
        assert!(location.path.exists(), "it may still be the old one's");
        new.keep();
        new.remove()?;
        assert!(!location.path.exists());
        Ok(())
    }
}
