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
//! - `STAYING`, another one, until the daemon begins to end: then it is not worth being told of.
//! - `RELOADS`, another one, of a daemon that reloads when it is asked to.
//! - two more of the daemon, whose bytes tell the directory and name, and the path (`place`).
//! - one more where the daemon is another program, and a process of ours keeps it (`program`), or
//!   where it has taken over from one that has reloaded (`succession`).
//!
//! Neither `CLAIM` nor `LIFE` is enough alone. `CLAIM` names nobody, and a child that the daemon
//! forked without exec would share it; `LIFE` cannot pass through a fork, and the daemon loses it
//! if it opens and closes its own PID file. See `docs/ARCHITECTURE.md` for the whole argument.

#![forbid(unsafe_code)]

mod access;
mod attempt;
mod bystander;
mod contents;
mod holder;
mod orphan;
mod place;
mod program;
mod signs;
mod succession;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config::{Location, Patience};
use crate::error::{Error, Kind};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::fs::{Access, Dir, Inode, Meta, Missing, set_length, set_mode};
use crate::sys::lock::{self, Byte, Holder};
use crate::sys::proc;
use crate::sys::proc::files::{LockKind, holds_lock};
use crate::sys::process::{Pid, PidFd};
use crate::sys::retry;
use crate::sys::signal::{Signal, ignoring};

use access::{
    existing_dir, inode_in, inspect_file, is_sole_in_place, is_unpublished, no_dir, open_dir,
    open_existing, open_or_create, require_expendable,
};
use attempt::{Attempt, Site, Taken, evict};
pub(crate) use bystander::bystander;
use holder::Startup;
pub(crate) use holder::{Presence, Running};
use signs::Signs;

const STARTUP: Byte = Byte(1 << 30);
const CLAIM: Byte = Byte((1 << 30) + 1);
const LIFE: Byte = Byte((1 << 30) + 2);
const STAYING: Byte = Byte((1 << 30) + 3);
const RELOADS: Byte = Byte((1 << 30) + 4);

/// The PID file that this very process lives by. It must never be opened and closed here: the
/// closing would drop `LIFE`.
static OWN: Mutex<Option<(Inode, Pid)>> = Mutex::new(None);

fn own() -> MutexGuard<'static, Option<(Inode, Pid)>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A PID file that is ours.
pub(crate) struct PidFile {
    file: File,
    dir: Dir,
    name: OsString,
    path: PathBuf,
    inode: Inode,
    /// The bytes for where it is: as an entry of its directory, and by its path.
    places: [Byte; 2],
    /// What tells of it, whatever becomes of it.
    signs: Signs,
    /// The permissions it is going to have.
    mode: u32,
    /// Whose place this process takes, after a reload.
    predecessor: Option<Pid>,
    /// Whether it is this process's to remove: not while it is a predecessor's still, nor when it is a
    /// successor's already.
    is_ours: Mutex<bool>,
    offers_reload: AtomicBool,
}

/// The answer to an attempt to claim a PID file.
pub(crate) enum Claim {
    /// It is ours; `broken` if there was a file whose contents were not a PID.
    Ours { file: PidFile, broken: bool },
    /// A daemon is running.
    Running(Pid),
}

impl PidFile {
    /// One that this process has claimed.
    fn new(location: &Location, file: File, dir: Dir, inode: Inode, places: [Byte; 2]) -> Self {
        Self {
            name: location.name.clone(),
            path: location.path.clone(),
            places,
            file,
            dir,
            inode,
            signs: Signs::none(),
            mode: 0,
            predecessor: None,
            is_ours: Mutex::new(true),
            offers_reload: AtomicBool::new(false),
        }
    }

    /// Takes the file at `location` for a daemon about to be started, making it and its directory
    /// if need be. Waits with `patience` for another start in progress, and for a daemon that is
    /// about to end.
    pub(crate) fn claim(
        location: &Location,
        umask: u32,
        (uid, gid): (u32, u32),
        patience: Patience,
    ) -> Result<Claim, Error> {
        let deadline = deadline_in(patience.for_start);
        let missing = Missing::Make { mode: 0o777 & !umask, uid, gid };
        let mut evictions = 0;
        // Each further turn is owed to somebody who changed the file between two of our steps.
        loop {
            let dir = open_dir(location, missing).map_err(|error| no_dir(location, error))?;
            let (file, inode, is_new) = match open_or_create(location, &dir) {
                Ok(Some(opened)) => opened,
                Ok(None) => continue,
                Err(error) if error.is_permission_denied() => {
                    return running_for_a_reader(location, &dir)?
                        .map_or(Err(error), |pid| Ok(Claim::Running(pid)));
                }
                Err(error) => return Err(error),
            };
            let places = place::both(dir.inode(), location);
            let site = Site { location, dir: &dir, file: &file, inode, places };
            match site.take(&mut evictions, deadline, patience.for_end) {
                Ok(Taken::Nothing) => {}
                Ok(Taken::Place { broken }) => {
                    let mode = 0o644 & !umask;
                    let mut file = Self { mode, ..Self::new(location, file, dir, inode, places) };
                    file.put_up_signs(location)?;
                    return Ok(Claim::Ours { file, broken });
                }
                Ok(Taken::By(pid)) => return Ok(Claim::Running(pid)),
                Err(error) => {
                    if is_new && site.is_nobodys().unwrap_or(false) {
                        // What matters is the error; an empty file means "not running".
                        let _ = evict(location, &dir, inode);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Before it is looked once more whether the file is in its place (`begin_life`): who has made another
    /// one there looks for a sign after that.
    fn put_up_signs(&mut self, location: &Location) -> Result<(), Error> {
        match Signs::put_up(location, &self.dir, self.places) {
            Ok(signs) => {
                self.signs = signs;
                Ok(())
            }
            Err(error) => {
                let _ = self.remove();
                Err(location.cannot("lock the directory of", error))
            }
        }
    }

    /// Makes the calling process the one that the file stands for, and writes its number there.
    pub(crate) fn begin_life(&self) -> Result<(), Error> {
        self.wait_for_predecessor().map_err(|error| self.cannot("read", error))?;
        self.take_life()?;
        self.write_pid(Pid::current())?;
        // Not before: whoever can open the file can lock it for reading, and so be in the way of
        // everybody's write locks. And what was in it before may be nobody's business.
        set_mode(&self.file, self.mode).map_err(|error| self.cannot("set the mode of", error))
    }

    /// Takes what tells everybody that this process is the daemon.
    fn take_life(&self) -> Result<(), Error> {
        let [entry, path] = self.places;
        let predecessor = self.predecessor.map(succession::byte_of);
        let reloads = self.offers_reload.load(Ordering::SeqCst).then_some(RELOADS);
        let some = predecessor.into_iter().chain(reloads);
        // `LIFE` last: who has it has all of them.
        for byte in some.chain([entry, path, STAYING, LIFE]) {
            if !lock::try_own(&self.file, byte).map_err(|error| self.cannot("lock", error))? {
                return Err(self.locked());
            }
        }
        // After the locks, which others look for after they have made a new file: of two who start
        // while the file is deleted in between, one sees the other.
        if !self.is_in_place().map_err(|error| self.cannot("find", error))? {
            let message = format!("PID file {:?} was deleted during the start", self.path);
            return Err(Error::new(Kind::Identity, message));
        }
        *own() = Some((self.inode, Pid::current()));
        Ok(())
    }

    /// A program whose keeper was killed is killed for it by the kernel, but has no lock meanwhile. All
    /// that is known of it is the text, which may mean anybody by now: so only somebody who is on his
    /// way out anyway is waited for.
    fn wait_for_predecessor(&self) -> io::Result<()> {
        if let Some(pid) = contents::pid(&self.file)?
            && let Ok(handle) = PidFd::open(pid)
            && proc::is_dying(pid)
        {
            wait_readable([Some(handle.as_fd())], deadline_in(holder::DYING))?;
        }
        Ok(())
    }

    /// Makes the file stand for a child of the calling process, which goes on holding the locks.
    pub(crate) fn begin_keeping(&self, program: Pid) -> Result<(), Error> {
        let lock = lock::try_own(&self.file, program::byte_of(program));
        if !lock.map_err(|error| self.cannot("lock", error))? {
            return Err(self.locked());
        }
        self.write_pid(program)
    }

    /// The program has ended, and is about to be buried: what is left of the daemon is its keeper.
    pub(crate) fn end_keeping(&self, program: Pid) {
        self.begin_end();
        if *self.is_ours() {
            // The number may be somebody else's soon. If it stays, for want of space, it means nothing.
            let _ = self.write_pid(Pid::current());
        }
        // Cannot fail for a lock that is held.
        let _ = lock::release_own(&self.file, program::byte_of(program));
    }

    fn write_pid(&self, pid: Pid) -> Result<(), Error> {
        // A limit on the size of files is an error like others, and no reason to be killed.
        ignoring(Signal::XFSZ, || self.write(&format!("{pid}\n")))
            .flatten()
            .map_err(|error| self.cannot("write", error))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        // New contents over old ones, then the length: a full disk keeps the old file whole.
        retry(|| self.file.write_all_at(text.as_bytes(), 0))?;
        self.cut_to(text.len() as u64)
    }

    /// Whether the daemon that was made for the file still has it: a worker can lose it, by closing
    /// descriptors that are not its own, or by becoming another program. Who cannot tell says so.
    pub(crate) fn is_held_by(&self, daemon: Pid) -> io::Result<bool> {
        Ok(lock::holder(&self.file, LIFE)? == Some(Holder::Process(daemon))
            || holds_lock(daemon, self.inode, LockKind::Shared, CLAIM).unwrap_or(true))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(self.dir.meta(&self.name)?.map(|meta| meta.inode) == Some(self.inode))
    }

    /// Whether the descriptor still is the file's. A worker that closes what is not its own may
    /// have a file of its own there now.
    fn is_open(&self) -> bool {
        Meta::of(&self.file).is_ok_and(|meta| meta.inode == self.inode)
    }

    fn is_ours(&self) -> MutexGuard<'_, bool> {
        self.is_ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut_to(&self, length: u64) -> io::Result<()> {
        // A new file has the right length, and asking is cheaper than setting it once more.
        match self.file.metadata()?.len() == length {
            true => Ok(()),
            false => set_length(&self.file, length),
        }
    }

    /// From the beginning of its life on, tells everybody that this daemon reloads when it is asked to by a
    /// signal, which would end another one.
    pub(crate) fn offer_reload(&self) {
        self.offers_reload.store(true, Ordering::SeqCst);
    }

    /// Tells whoever waits that the outcome of the start is known. For the daemon, once nobody else
    /// shares the claim: it must never be held by anybody when neither lock explains why.
    pub(crate) fn end_startup(&self) {
        // Cannot fail for a lock that is held; if it did, the end of this process would do it.
        let _ = lock::release_shared(&self.file, STARTUP);
    }

    /// Lets those who want to start a daemon know that this one has begun to end.
    pub(crate) fn begin_end(&self) {
        if self.is_open() {
            // Cannot fail, and nobody can be in the way, as he could if this took a lock.
            let _ = lock::release_own(&self.file, STAYING);
        }
    }

    /// Empties the file, which means "not running", and removes it if it still is the one that was
    /// claimed. One that must not be removed stays empty.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        // Held to the end: a successor must not take what is about to be removed.
        let mut is_ours = self.is_ours();
        if !std::mem::replace(&mut *is_ours, false) {
            return Ok(());
        }
        let emptied = match self.is_open() {
            true => set_length(&self.file, 0),
            false => Err(io::ErrorKind::NotFound.into()),
        };
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
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.file.as_fd(), self.dir.as_fd()].into_iter().chain(self.signs.descriptors())
    }

    fn locked(&self) -> Error {
        let message = format!("PID file {:?} was locked by another process", self.path);
        Error::new(Kind::Identity, message)
    }

    fn cannot(&self, what: &str, error: io::Error) -> Error {
        Error::system(format!("cannot {what} PID file {:?}", self.path), error)
    }
}

/// Whether this daemon reloads when it is asked to.
pub(crate) fn offers_reload(location: &Location, running: &Running) -> Result<bool, Error> {
    // Without it, it was deleted or moved: whoever is found all the same can only be ended.
    let Some(file) = &running.pin else {
        return Ok(false);
    };
    let holder = lock::holder(file, RELOADS);
    let holder = holder.map_err(|error| location.cannot("examine the locks of", error))?;
    Ok(holder == Some(Holder::Process(running.holder)))
}

/// Looks who holds the PID file at `location`. Reads, and changes nothing.
pub(crate) fn look(location: &Location) -> Result<Presence, Error> {
    let dir = existing_dir(location)?;
    let presence = match &dir {
        None => Presence::Absent { broken: false },
        Some(dir) => look_in(location, dir)?,
    };
    match presence {
        Presence::Absent { .. } => {
            let entry = dir.as_ref().map(|dir| (dir, place::of_entry(dir.inode(), location)));
            let orphan =
                orphan::find(location, entry).map_err(|e| location.cannot("look for", e))?;
            Ok(orphan.map_or(presence, Presence::Running))
        }
        other => Ok(other),
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
        Some((file, inode)) => {
            // Whoever could have made the file could pose as the daemon.
            inspect_file(location, &file)?;
            let place = place::of_entry(dir.inode(), location);
            let presence = holder::identify(location, place, &file, inode, Startup::Theirs)?;
            Ok(match presence {
                Presence::Running(running) => {
                    Presence::Running(Running { pin: Some(file), ..running })
                }
                other => other,
            })
        }
    }
}

/// Removes what a daemon that has ended could not remove, unless somebody is at the file again;
/// whether it did. A file that is `Unknown` must be one that a start would use.
pub(crate) fn sweep(location: &Location, origin: Origin) -> Result<bool, Error> {
    let Some(dir) = existing_dir(location)? else {
        return Ok(false);
    };
    // What has taken the place of the daemon's file is left alone, unopened.
    if let Origin::Daemon(its) = origin
        && inode_in(location, &dir)? != Some(its)
    {
        return Ok(false);
    }
    let (file, inode) = match open_existing(location, &dir, Access::ReadWrite) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(false),
        // Not ours to remove, and in nobody's way: a file that nobody holds means "not running".
        Err(error) if error.is_permission_denied() => return Ok(false),
        Err(error) => return Err(error),
    };
    let is_it = match origin {
        Origin::Daemon(its) => its == inode,
        Origin::Unknown => {
            inspect_file(location, &file).and_then(|()| require_expendable(location, &file)).is_ok()
        }
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
        Attempt::Taken if !is_sole_in_place(location, &dir, inode)? => return Ok(false),
        Attempt::Taken => {
            let places = place::both(dir.inode(), location);
            PidFile::new(location, file, dir, inode, places).remove()?;
        }
        Attempt::Squatted => evict(location, &dir, inode).or_else(|error| {
            // As above: not ours to remove. Without its text it misleads nobody.
            set_length(&file, 0).map_err(|_| error)
        })?,
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
    let place = place::of_entry(dir.inode(), location);
    match holder::identify(location, place, &file, inode, Startup::Theirs)? {
        Presence::Running(running) => Ok(Some(running.pid())),
        Presence::Absent { .. } | Presence::Starting => Ok(None),
    }
}
