//! Getting the locks of a PID file, among others who want them or are in the way.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::config::Location;
use crate::error::{Error, Kind};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::fs::{Dir, Inode, Meta};
use crate::sys::lock::{self, Byte};
use crate::sys::process::Pid;

use super::access::{inode_in, is_sole_in_place, require_expendable};
use super::holder::{self, Presence, Running, Startup};
use super::life::wait_for_the_named;
use super::{CLAIM, LIFE, STARTUP, STAYING, contents};

/// A PID file that a start has opened.
pub(super) struct Site<'a> {
    pub(super) location: &'a Location,
    pub(super) dir: &'a Dir,
    pub(super) file: &'a File,
    pub(super) inode: Inode,
    pub(super) is_new: bool,
    /// The bytes that say that the file is the one of this location.
    pub(super) places: [Byte; 2],
}

/// The locks of a start, in the order in which they are taken. The last is only asked for: see
/// [`Attempt::at_life`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Startup,
    Claim,
    Life,
}

/// What a start has got.
pub(super) enum Taken {
    /// The locks of the file; `is_broken` if its contents are not a PID.
    Place { is_broken: bool },
    /// Nothing: this daemon has it.
    By(Pid),
    /// Nothing, and there is another file, or nobody has this one any more: all is to be tried again.
    Nothing,
    /// Nothing: an old file was in the way, and is removed; `is_broken` as above.
    Cleared { is_broken: bool },
}

impl Site<'_> {
    /// Takes the locks of the file for a daemon, waiting for others if need be.
    pub(super) fn take(
        &self,
        evictions: &mut u32,
        deadline: Option<Instant>,
        patience: Duration,
    ) -> Result<Taken, Error> {
        let Self { location, dir, file, inode, .. } = *self;
        let Some((step, attempt)) = self.take_locks(deadline)? else {
            // It was removed, by a daemon that ended or by hand, while we waited.
            return Ok(Taken::Nothing);
        };
        if attempt != Attempt::Taken {
            let running = self.give_way(step, attempt, evictions, patience)?;
            return Ok(running.map_or(Taken::Nothing, Taken::By));
        }
        if !is_sole_in_place(location, dir, inode)? {
            // An ending daemon, the last holder of the claim, has removed it since. From now on
            // nobody else does.
            return Ok(Taken::Nothing);
        }
        let is_broken = contents::are_broken(file).map_err(|e| location.cannot("read", e))?;
        if is_broken {
            require_expendable(location, file)?;
        }
        // Who can read what a daemon that was killed has left may wait for the moment in which to lock it.
        if !self.is_new && self.is_readable_to_others()? {
            // Before nothing names him any more.
            wait_for_the_named(file).map_err(|e| location.cannot("read", e))?;
            // If we may not remove it, we have to make do with it.
            if evict(location, dir, inode).is_ok() {
                return Ok(Taken::Cleared { is_broken });
            }
        }
        Ok(Taken::Place { is_broken })
    }

    /// Leaves nothing new behind. What matters is why; and an empty file means "not running".
    pub(super) fn leave(&self) {
        if self.is_new && self.is_nobodys().unwrap_or(false) {
            let _ = evict(self.location, self.dir, self.inode);
        }
    }

    fn is_readable_to_others(&self) -> Result<bool, Error> {
        const OTHERS_READ: u32 = 0o044;
        let meta = Meta::of(self.file).map_err(|error| self.location.cannot("examine", error))?;
        Ok(meta.mode & OTHERS_READ != 0)
    }

    /// Whether no other start has taken the file.
    fn is_nobodys(&self) -> io::Result<bool> {
        Ok(lock::try_shared(self.file, STARTUP)? && lock::try_shared(self.file, CLAIM)?)
    }

    /// Takes the locks one after the other, and tells how far it got. `None`: meanwhile, another
    /// file is in the place of this one.
    fn take_locks(&self, deadline: Option<Instant>) -> Result<Option<(Step, Attempt)>, Error> {
        let cannot = |error| self.location.cannot("lock", error);
        let attempt = wait_for_startup(self.location, self.file, deadline)?;
        if attempt != Attempt::Taken {
            return Ok(Some((Step::Startup, attempt)));
        }
        if !is_sole_in_place(self.location, self.dir, self.inode)? {
            return Ok(None);
        }
        let attempt = Attempt::at_shared(self.file, CLAIM).map_err(cannot)?;
        if attempt != Attempt::Taken {
            return Ok(Some((Step::Claim, attempt)));
        }
        let attempt = Attempt::at_life(self.file, self.places).map_err(cannot)?;
        Ok(Some((Step::Life, attempt)))
    }

    /// After an `attempt` that failed at `step`: the daemon that is in the way, or `None` when
    /// nobody is any more and all is to be tried again.
    fn give_way(
        &self,
        step: Step,
        attempt: Attempt,
        evictions: &mut u32,
        patience: Duration,
    ) -> Result<Option<Pid>, Error> {
        /// How often a start gets itself a new file because somebody holds locks on the old one.
        const MOST_EVICTIONS: u32 = 3;
        let Self { location, dir, file, inode, .. } = *self;
        let startup = match step {
            Step::Startup => Startup::Theirs,
            Step::Claim | Step::Life => Startup::Ours,
        };
        match holder::identify(location, self.places[0], file, inode, startup) {
            Ok(Presence::Running(running)) if running.is_ending => {
                wait_for_end(&running, deadline_in(patience))?;
            }
            Ok(Presence::Running(running)) => return Ok(Some(running.pid())),
            Ok(Presence::Starting) => {}
            Ok(Presence::Absent { .. }) if attempt == Attempt::Squatted => {
                if *evictions == MOST_EVICTIONS {
                    return Err(squatted(location));
                }
                *evictions += 1;
                evict(location, dir, inode).map_err(|error| {
                    match error.is_permission_denied() {
                        true => immovable(location),
                        false => error,
                    }
                })?;
            }
            // The holder of the claim may have been dying when it was asked who he is.
            _ if step == Step::Claim
                && is_let_go(file).map_err(|error| location.cannot("lock", error))? => {}
            Ok(Presence::Absent { .. }) => return Err(squatted(location)),
            Err(error) => return Err(error),
        }
        Ok(None)
    }
}

/// What has come of trying to get a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Taken,
    /// Somebody who may write to the file has it.
    Held,
    /// It cannot be had, and there is no write lock: somebody who can only read the file, or at
    /// least pretends to, has put his own kind of lock there.
    Squatted,
}

impl Attempt {
    fn at(
        take: impl Fn() -> io::Result<bool>,
        is_held: impl Fn() -> io::Result<bool>,
    ) -> io::Result<Self> {
        /// Refusals without a holder to be seen before somebody is blamed: now and then one is owed
        /// to a holder who let go between the two questions.
        const REFUSALS: u32 = 100;
        for _ in 0..REFUSALS {
            if take()? {
                return Ok(Self::Taken);
            }
            if is_held()? {
                return Ok(Self::Held);
            }
            std::thread::yield_now();
        }
        Ok(Self::Squatted)
    }

    pub(super) fn at_shared(file: &File, byte: Byte) -> io::Result<Self> {
        Self::at(|| lock::try_shared(file, byte), || lock::is_shared_held(file, byte))
    }

    /// Whether the daemon will be able to take `LIFE` and its places. Nobody takes them here:
    /// whoever holds them is the daemon to everybody else.
    fn at_life(file: &File, [entry, path]: [Byte; 2]) -> io::Result<Self> {
        let bytes = [LIFE, STAYING, entry, path];
        Self::at(
            || all(bytes, |byte| lock::could_own(file, byte)),
            || Ok(!all(bytes, |byte| Ok(lock::holder(file, byte)?.is_none()))?),
        )
    }
}

/// Takes `STARTUP`, waiting for whoever has it.
fn wait_for_startup(
    location: &Location,
    file: &File,
    deadline: Option<Instant>,
) -> Result<Attempt, Error> {
    let cannot = |error| location.cannot("lock", error);
    match Attempt::at_shared(file, STARTUP).map_err(cannot)? {
        Attempt::Held => {}
        other => return Ok(other),
    }
    if lock::wait_shared(file, STARTUP, deadline).map_err(cannot)? {
        // Ours, or at least nobody's who may write.
        return Attempt::at_shared(file, STARTUP).map_err(cannot);
    }
    let path = &location.path;
    let message = format!("timed out while waiting for another start that holds PID file {path:?}");
    Err(Error::new(Kind::TimedOut, message))
}

/// After a claim that failed although no daemon is there: whether its holder was merely dying.
fn is_let_go(file: &File) -> io::Result<bool> {
    /// Ample for a process that has nothing more to do than to close its files.
    const DYING: Duration = Duration::from_secs(1);
    Ok(lock::try_shared(file, CLAIM)? || lock::wait_shared(file, CLAIM, deadline_in(DYING))?)
}

/// Removes a file on which somebody who is not the daemon has put locks, so that a new one can be
/// made, which he cannot open before it is locked. Should a start have taken the file just now, it
/// notices (`begin_life`), or has a daemon that is found by its lock (`orphan`).
pub(super) fn evict(location: &Location, dir: &Dir, inode: Inode) -> Result<(), Error> {
    if inode_in(location, dir)? == Some(inode) {
        dir.remove(&location.name).map_err(|error| location.cannot("remove", error))?;
    }
    Ok(())
}

/// A daemon that has been asked to end, or whose shutdown hook runs, is not what a start is about:
/// it waits for its end.
fn wait_for_end(running: &Running, deadline: Option<Instant>) -> Result<(), Error> {
    let pid = running.pid();
    let cannot = |error| Error::system(format!("cannot wait for the end of process {pid}"), error);
    let handle = running.handle.as_ref().ok().map(AsFd::as_fd);
    if wait_readable([handle], deadline).map_err(cannot)? == [true] {
        return Ok(());
    }
    let message = format!("timed out while waiting for process (PID {pid}), which is ending");
    Err(Error::new(Kind::TimedOut, message))
}

fn squatted(location: &Location) -> Error {
    let path = &location.path;
    let message = format!(
        "PID file {path:?} is locked by a process that is not the daemon: \
         end that process (see lslocks) or delete the file"
    );
    Error::new(Kind::Identity, message)
}

fn immovable(location: &Location) -> Error {
    let path = &location.path;
    let message = format!(
        "PID file {path:?} is locked by a process that is not the daemon, and you may not replace it: \
         end that process (see lslocks), or let somebody delete the file who may write to its directory"
    );
    Error::new(Kind::Identity, message)
}

/// Whether something is so for all of them.
fn all(bytes: [Byte; 4], is_so: impl Fn(Byte) -> io::Result<bool>) -> io::Result<bool> {
    for byte in bytes {
        if !is_so(byte)? {
            return Ok(false);
        }
    }
    Ok(true)
}
