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
//! - `RELOADS`, another one, of a daemon that reloads when it is asked to, and `UNREADY` until it can.
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
mod claim;
mod contents;
mod holder;
mod life;
mod look;
mod orphan;
mod place;
mod program;
mod signs;
mod succession;
mod suspect;
mod sweep;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Location;
use crate::error::{Error, Kind};
use crate::sys::fs::{Dir, Inode, Meta, inode_of, set_length};
use crate::sys::lock::{self, Byte, Holder};
use crate::sys::proc::files::{LockKind, holds_lock};
use crate::sys::process::Pid;
use crate::sys::retry;
use crate::sys::signal::{Signal, ignoring};

pub(crate) use bystander::bystander;
pub(crate) use claim::{Claim, claim, claim_all};
pub(crate) use holder::{Presence, Running};
pub(crate) use look::{keep_up, look, look_all, offers_reload, wait_for_outcome};
use signs::Signs;
pub(crate) use sweep::{Origin, sweep};

/// How long it may take to find out who has the file, whoever else does what meanwhile.
pub(crate) const LONG: Duration = Duration::from_secs(10);

const STARTUP: Byte = Byte(1 << 30);
const CLAIM: Byte = Byte((1 << 30) + 1);
const LIFE: Byte = Byte((1 << 30) + 2);
const STAYING: Byte = Byte((1 << 30) + 3);
const RELOADS: Byte = Byte((1 << 30) + 4);
const UNREADY: Byte = Byte((1 << 30) + 5);

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
    keeps_program: AtomicBool,
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
            keeps_program: AtomicBool::new(false),
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

    /// Whether it was deleted, or moved, or another one is in its place; in doubt it was not.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.is_in_place(), Ok(false))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(self.dir.meta(&self.name)?.map(|meta| meta.inode) == Some(self.inode))
    }

    /// Whether there is another one by its path, where somebody has put another directory in the place of ours.
    /// Before the daemon has another root directory, and where it may look.
    fn is_there_another(&self) -> bool {
        inode_of(&self.path).is_some_and(|inode| inode != self.inode)
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

    /// Tells whoever waits that the outcome of the start is known. For the daemon, once nobody else
    /// shares the claim: it must never be held by anybody when neither lock explains why.
    pub(crate) fn end_startup(&self) {
        // It fails only where a server keeps the locks, and that one for long (fcntl(2), `ENOLCK`).
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

    /// Why a daemon whose file is lost cannot be replaced: nobody would find the new one.
    pub(crate) fn lost(&self) -> Error {
        let message = format!(
            "cannot reload: somebody has deleted or moved PID file {:?}: restart the daemon",
            self.path
        );
        Error::new(Kind::Identity, message)
    }

    fn locked(&self) -> Error {
        let message = format!("PID file {:?} was locked by another process", self.path);
        Error::new(Kind::Identity, message)
    }

    fn cannot(&self, what: &str, error: io::Error) -> Error {
        Error::system(format!("cannot {what} PID file {:?}", self.path), error)
    }
}
