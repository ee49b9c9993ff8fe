//! The PID file: who may claim it, who holds it, and what its contents are worth.
//!
//! The contents are for people and scripts. What counts are locks on the file, each one byte
//! far behind the text:
//!
//! - `STARTUP`, of the open file description: somebody is starting this daemon. Held by the
//!   command `start` from before the first fork until the outcome is known.
//! - `CLAIM`, of the same description: the file is taken. From before the first fork it passes
//!   through both forks to the daemon, which keeps it for life.
//! - `LIFE`, a record lock of the daemon: the kernel names its holder, and drops it at his death.
//! - `ENDING`, another one, when the daemon has begun to end: it is not worth being told of.
//!
//! Neither `CLAIM` nor `LIFE` is enough alone. `CLAIM` names nobody, and a child that the daemon
//! forked without exec would share it; `LIFE` cannot pass through a fork, and the daemon loses it
//! if it opens and closes its own PID file. See `docs/ARCHITECTURE.md` for the whole argument.

#![forbid(unsafe_code)]

mod access;
mod contents;
mod holder;
mod orphan;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::config::Location;
use crate::error::{Error, Kind};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::fs::{Access, Dir, Inode, Missing, set_mode};
use crate::sys::lock::{self, Byte};
use crate::sys::process::{Pid, PidFd};
use crate::sys::retry;

use access::{
    existing_dir, inode_in, inspect_file, no_dir, open_dir, open_existing, open_or_create,
};
use holder::Startup;
pub(crate) use holder::{Presence, Running};

const STARTUP: Byte = Byte(1 << 30);
const CLAIM: Byte = Byte((1 << 30) + 1);
const LIFE: Byte = Byte((1 << 30) + 2);
const ENDING: Byte = Byte((1 << 30) + 3);

/// The PID file that this very process lives by. It must never be opened and closed here: the
/// closing would drop `LIFE`.
static OWN: OnceLock<(Inode, Pid)> = OnceLock::new();

/// A PID file that is ours.
pub(crate) struct PidFile {
    file: Arc<File>,
    dir: Dir,
    name: OsString,
    path: PathBuf,
    inode: Inode,
    /// The permissions it is going to have.
    mode: u32,
}

/// The answer to an attempt to claim a PID file.
pub(crate) enum Claim {
    /// It is ours; `broken` if there was a file whose contents were not a PID.
    Ours { file: PidFile, broken: bool },
    /// A daemon is running.
    Running(Pid),
}

impl PidFile {
    /// Takes the file at `location` for a daemon about to be started, making it and its directory
    /// if need be. Waits up to `patience` for the outcome of another start in progress.
    pub(crate) fn claim(
        location: &Location,
        umask: u32,
        (uid, gid): (u32, u32),
        patience: Duration,
    ) -> Result<Claim, Error> {
        let deadline = deadline_in(patience);
        let missing = Missing::Make { mode: 0o777 & !umask, uid, gid };
        let mut evictions = 0;
        // Each further turn is owed to somebody who changed the file between two of our steps.
        loop {
            let dir = open_dir(location, missing).map_err(|error| no_dir(location, error))?;
            let (file, inode) = match open_or_create(location, &dir) {
                Ok(Some(opened)) => opened,
                Ok(None) => continue,
                Err(error) if error.is_permission_denied() => {
                    return running_for_a_reader(location, &dir)?
                        .map_or(Err(error), |pid| Ok(Claim::Running(pid)));
                }
                Err(error) => return Err(error),
            };
            let cannot = |error| location.cannot("lock", error);
            let mut startup = Startup::Theirs;
            let mut attempt = wait_for_startup(location, &file, deadline)?;
            if attempt == Attempt::Taken {
                if inode_in(location, &dir)? != Some(inode) {
                    // It was removed, by a daemon that ended or by hand, while we waited.
                    continue;
                }
                startup = Startup::Ours;
                attempt = Attempt::at_shared(&file, CLAIM).map_err(cannot)?;
            }
            let mut lacks_claim = startup == Startup::Ours;
            if lacks_claim && attempt == Attempt::Taken {
                lacks_claim = false;
                attempt = Attempt::at_life(&file).map_err(cannot)?;
            }
            if attempt != Attempt::Taken {
                match holder::identify(location, &file, inode, startup) {
                    Ok(Presence::Running(running)) if running.is_ending => {
                        wait_for_end(&running, deadline)?;
                    }
                    Ok(Presence::Running(running)) => return Ok(Claim::Running(running.pid)),
                    Ok(Presence::Starting) => {}
                    Ok(Presence::Absent { .. }) if attempt == Attempt::Squatted => {
                        if evictions == MOST_EVICTIONS {
                            return Err(squatted(location));
                        }
                        evictions += 1;
                        evict(location, &dir, inode)?;
                    }
                    _ if lacks_claim && is_let_go(&file).map_err(cannot)? => {}
                    Ok(Presence::Absent { .. }) => return Err(squatted(location)),
                    Err(error) => return Err(error),
                }
                continue;
            }
            if inode_in(location, &dir)? != Some(inode) {
                // An ending daemon, the last holder of the claim, has removed it since. From now on
                // nobody else does.
                continue;
            }
            let broken = contents::are_broken(&file).map_err(|e| location.cannot("read", e))?;
            let orphan = orphan::find(location).map_err(|e| location.cannot("look for", e))?;
            let (name, path) = (location.name.clone(), location.path.clone());
            let mode = 0o644 & !umask;
            let file = Self { file, dir, name, path, inode, mode };
            return match orphan {
                None => Ok(Claim::Ours { file, broken }),
                Some(Running { pid, .. }) => {
                    file.remove()?;
                    Err(orphaned(location, pid))
                }
            };
        }
    }

    /// Makes the calling process the one that the file stands for, and writes its number there.
    pub(crate) fn begin_life(&self) -> Result<(), Error> {
        let pid = Pid::current();
        if !lock::try_own(&*self.file, LIFE).map_err(|error| self.cannot("lock", error))? {
            let message = format!("PID file {:?} was locked by another process", self.path);
            return Err(Error::new(Kind::Identity, message));
        }
        // After the lock, which others look for after they have made a new file: of two who start
        // while the file is deleted in between, one sees the other.
        if !self.is_in_place().map_err(|error| self.cannot("find", error))? {
            let message = format!("PID file {:?} was deleted during the start", self.path);
            return Err(Error::new(Kind::Identity, message));
        }
        let _ = OWN.set((self.inode, pid));
        let text = format!("{pid}\n");
        // New contents over old ones, then the length: a full disk keeps the old file whole.
        retry(|| self.file.write_all_at(text.as_bytes(), 0))
            .and_then(|()| self.cut_to(text.len() as u64))
            .map_err(|error| self.cannot("write", error))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(self.dir.meta(&self.name)?.map(|meta| meta.inode) == Some(self.inode))
    }

    fn cut_to(&self, length: u64) -> io::Result<()> {
        // A new file has the right length, and asking is cheaper than setting it once more.
        match self.file.metadata()?.len() == length {
            true => Ok(()),
            false => retry(|| self.file.set_len(length)),
        }
    }

    /// Lets others read it. Not before the daemon has its lock: whoever can open the file can lock
    /// it for reading, and so be in the way of everybody's write locks.
    pub(crate) fn publish(&self) -> io::Result<()> {
        set_mode(&*self.file, self.mode)
    }

    /// Tells whoever waits that the outcome of the start is known. For the daemon, once nobody else
    /// shares the claim: it must never be held by anybody when neither lock explains why.
    pub(crate) fn end_startup(&self) {
        // Cannot fail for a lock that is held; if it did, the end of this process would do it.
        let _ = lock::release_shared(&*self.file, STARTUP);
    }

    /// Lets those who want to start a daemon know that this one has begun to end.
    pub(crate) fn begin_end(&self) {
        // Nobody else ever locks this byte for long; without it they would take us for running.
        let _ = lock::try_own(&*self.file, ENDING);
    }

    /// Empties the file, which means "not running", and removes it if it still is the one that was
    /// claimed. One that must not be removed stays empty.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let emptied = retry(|| self.file.set_len(0));
        match self.is_in_place() {
            Ok(true) => self.dir.remove(&self.name),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        }
        .or_else(|error| emptied.map_err(|_| self.cannot("remove", error)))
    }

    /// Which file it is.
    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// The descriptors that must stay open for the claim to last.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.file.as_fd(), self.dir.as_fd()]
    }

    fn cannot(&self, what: &str, error: io::Error) -> Error {
        Error::system(format!("cannot {what} PID file {:?}", self.path), error)
    }
}

/// Looks who holds the PID file at `location`. Reads, and changes nothing.
pub(crate) fn look(location: &Location) -> Result<Presence, Error> {
    let presence = match existing_dir(location)? {
        None => Presence::Absent { broken: false },
        Some(dir) => look_in(location, &dir)?,
    };
    match presence {
        Presence::Absent { .. } => {
            let orphan = orphan::find(location).map_err(|e| location.cannot("look for", e))?;
            Ok(orphan.map_or(presence, Presence::Running))
        }
        other => Ok(other),
    }
}

fn look_in(location: &Location, dir: &Dir) -> Result<Presence, Error> {
    if let Some((own, pid)) = OWN.get()
        && *pid == Pid::current()
        && inode_in(location, dir)? == Some(*own)
    {
        let handle = PidFd::open(*pid);
        return Ok(Presence::Running(Running { pid: *pid, handle, inode: *own, is_ending: false }));
    }
    match open_existing(location, dir, Access::Read)? {
        None => Ok(Presence::Absent { broken: false }),
        Some((file, inode)) => {
            // Whoever could have made the file could pose as the daemon.
            inspect_file(location, &file)?;
            holder::identify(location, &file, inode, Startup::Theirs)
        }
    }
}

/// Removes what a daemon that has ended could not remove, unless somebody is at the file again;
/// whether it did. A file that is `Unknown` must be one that a start would use.
pub(crate) fn sweep(location: &Location, origin: Origin) -> Result<bool, Error> {
    let Some(dir) = existing_dir(location)? else {
        return Ok(false);
    };
    let (file, inode) = match open_existing(location, &dir, Access::ReadWrite) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(false),
        // Not ours to remove, and in nobody's way: a file that nobody holds means "not running".
        Err(error) if error.is_permission_denied() => return Ok(false),
        Err(error) => return Err(error),
    };
    let is_it = match origin {
        Origin::Daemon(its) => its == inode,
        Origin::Unknown => inspect_file(location, &file).is_ok(),
    };
    if !is_it {
        return Ok(false);
    }
    let cannot = |error| location.cannot("lock", error);
    let mut attempt = Attempt::at_shared(&file, STARTUP).map_err(cannot)?;
    if attempt == Attempt::Taken {
        attempt = Attempt::at_shared(&file, CLAIM).map_err(cannot)?;
    }
    match attempt {
        Attempt::Taken => {
            let (name, path) = (location.name.clone(), location.path.clone());
            PidFile { file, dir, name, path, inode, mode: 0 }.remove()?;
        }
        Attempt::Squatted => evict(location, &dir, inode)?,
        Attempt::Held => {}
    }
    Ok(attempt != Attempt::Held)
}

/// How a PID file came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A daemon that was seen alive had this one.
    Daemon(Inode),
    /// Anybody may have put it there.
    Unknown,
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
fn running_for_a_reader(location: &Location, dir: &Dir) -> Result<Option<Pid>, Error> {
    let Ok(Some((file, inode))) = open_existing(location, dir, Access::Read) else {
        return Ok(None);
    };
    inspect_file(location, &file)?;
    match holder::identify(location, &file, inode, Startup::Theirs)? {
        Presence::Running(running) => Ok(Some(running.pid)),
        Presence::Absent { .. } | Presence::Starting => Ok(None),
    }
}

fn orphaned(location: &Location, pid: Pid) -> Error {
    let path = &location.path;
    let message = format!(
        "already running with PID {pid}, but somebody has deleted its PID file {path:?}: stop it first"
    );
    Error::new(Kind::Identity, message)
}

fn squatted(location: &Location) -> Error {
    let path = &location.path;
    let message = format!(
        "PID file {path:?} is locked by a process that is not the daemon: \
         end that process (see lslocks) or delete the file"
    );
    Error::new(Kind::Identity, message)
}

/// A daemon whose shutdown hook runs is not what a start is about: it waits for its end.
fn wait_for_end(running: &Running, deadline: Option<Instant>) -> Result<(), Error> {
    let pid = running.pid;
    let cannot = |error| Error::system(format!("cannot wait for the end of process {pid}"), error);
    let handle = running.handle.as_ref().ok().map(AsFd::as_fd);
    if wait_readable([handle], deadline).map_err(cannot)? == [true] {
        return Ok(());
    }
    let message = format!("timed out while waiting for process (PID {pid}), which is ending");
    Err(Error::new(Kind::TimedOut, message))
}

/// How often a start gets itself a new file because somebody holds locks on the old one.
const MOST_EVICTIONS: u32 = 3;

/// What has come of trying to get a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
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

    fn at_shared(file: &File, byte: Byte) -> io::Result<Self> {
        Self::at(|| lock::try_shared(file, byte), || lock::is_shared_held(file, byte))
    }

    /// Whether the daemon will be able to take `LIFE`. Nobody takes it here: whoever holds it is
    /// the daemon to everybody else.
    fn at_life(file: &File) -> io::Result<Self> {
        Self::at(|| lock::could_own(file, LIFE), || Ok(lock::holder(file, LIFE)?.is_some()))
    }
}

/// Removes a file on which somebody who is not the daemon has put locks, so that a new one can be
/// made, which he cannot open before it is locked. Should a start have taken the file just now, it
/// notices (`begin_life`), or has a daemon that is found by its lock (`orphan`).
fn evict(location: &Location, dir: &Dir, inode: Inode) -> Result<(), Error> {
    if inode_in(location, dir)? == Some(inode) {
        dir.remove(&location.name).map_err(|error| location.cannot("remove", error))?;
    }
    Ok(())
}

/// Takes `STARTUP`, waiting for whoever has it.
fn wait_for_startup(
    location: &Location,
    file: &Arc<File>,
    deadline: Option<Instant>,
) -> Result<Attempt, Error> {
    let cannot = |error| location.cannot("lock", error);
    match Attempt::at_shared(file, STARTUP).map_err(cannot)? {
        Attempt::Held => {}
        other => return Ok(other),
    }
    if lock::wait_shared(file, STARTUP, deadline).map_err(cannot)? {
        return Ok(Attempt::Taken);
    }
    let path = &location.path;
    let message = format!("timed out while waiting for another start that holds PID file {path:?}");
    Err(Error::new(Kind::TimedOut, message))
}

/// After a claim that failed although no daemon is there: whether its holder was merely dying.
fn is_let_go(file: &Arc<File>) -> io::Result<bool> {
    /// Ample for a process that has nothing more to do than to close its files.
    const DYING: Duration = Duration::from_secs(1);
    Ok(lock::try_shared(&**file, CLAIM)? || lock::wait_shared(file, CLAIM, deadline_in(DYING))?)
}
