//! Being the one that a PID file stands for: the locks that say so, and their text.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::fs::set_mode;
use crate::sys::lock::{self, Byte};
use crate::sys::proc;
use crate::sys::process::{Pid, PidFd};

use super::{LIFE, PidFile, RELOADS, STAYING, UNREADY, contents, holder, own, program, succession};

/// How the locks of a daemon come to a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// With a file that nobody else can have open.
    New,
    /// From a daemon that reloads. Others can read the file by then, and lock it for reading: what is not to be
    /// had for that is done without. The claim and the marks are enough.
    Handed,
    /// Back from a successor that has failed.
    Back,
}

impl PidFile {
    /// From the beginning of its life on, tells everybody that this daemon reloads when it is asked to by a
    /// signal, which would end another one: once it [accepts](Self::accept_reloads) that.
    pub(crate) fn offer_reloads(&self) {
        self.offers_reload.store(true, Ordering::SeqCst);
    }

    /// The signal is handled from now on. Given up and not taken, so that nobody can be in the way.
    pub(crate) fn accept_reloads(&self) {
        let _ = lock::release_own(&self.file, UNREADY);
    }

    /// The daemon is going to be another program.
    pub(crate) fn expect_program(&self) {
        self.keeps_program.store(true, Ordering::SeqCst);
    }

    /// Makes the calling process the one that the file stands for, and writes its number there.
    pub(crate) fn begin_life(&self) -> Result<(), Error> {
        wait_for_the_named(&self.file).map_err(|error| self.cannot("read", error))?;
        self.take_life(Life::New)?;
        self.write_pid(Pid::current())?;
        // Not before: whoever can open the file can lock it for reading, and so be in the way of
        // everybody's write locks. And what was in it before may be nobody's business.
        set_mode(&self.file, self.mode).map_err(|error| self.cannot("set the mode of", error))
    }

    /// Takes what tells everybody that this process is the daemon.
    pub(super) fn take_life(&self, life: Life) -> Result<(), Error> {
        let [entry, path] = self.places;
        let cannot_lock = |error| self.cannot("lock", error);
        self.signs.mark(entry).map_err(cannot_lock)?;
        let is_set = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
        if is_set(&self.keeps_program)
            && !lock::try_own_all(&self.file, program::ALL).map_err(cannot_lock)?
        {
            return Err(self.locked());
        }
        if let Some(predecessor) = self.predecessor {
            self.take(succession::byte_of(predecessor), life)?;
        }
        if is_set(&self.offers_reload) {
            if life == Life::New {
                self.take(UNREADY, life)?;
            }
            self.take(RELOADS, life)?;
        }
        let mut are_ours = true;
        for byte in [entry, path, STAYING] {
            are_ours &= self.take(byte, life)?;
        }
        // Last, and only by who has all of these: else he would be taken for somebody else, or for one who
        // ends.
        if are_ours {
            self.take(LIFE, life)?;
        }
        // After the locks, which others look for after they have made a new file: of two who start
        // while the file is deleted in between, one sees the other. (One that takes them back had them before.)
        let is_in_place = match life {
            Life::Back => true,
            Life::Handed => self.is_in_place().map_err(|error| self.cannot("find", error))?,
            Life::New => {
                self.is_in_place().map_err(|error| self.cannot("find", error))?
                    && !self.is_there_another()
            }
        };
        if !is_in_place {
            let message = format!("PID file {:?} was deleted or moved during the start", self.path);
            return Err(Error::new(Kind::Identity, message));
        }
        *own() = Some((self.inode, Pid::current()));
        Ok(())
    }

    /// Takes one of the locks; `false`: a reader has it, and it is done without.
    fn take(&self, byte: Byte, life: Life) -> Result<bool, Error> {
        let cannot_lock = |error| self.cannot("lock", error);
        if lock::try_own(&self.file, byte).map_err(cannot_lock)? {
            return Ok(true);
        }
        match life != Life::New && lock::holder(&self.file, byte).map_err(cannot_lock)?.is_none() {
            true => Ok(false),
            false => Err(self.locked()),
        }
    }

    /// Makes the file stand for a child of the calling process, which goes on holding the locks.
    pub(crate) fn begin_keeping(&self, program: Pid) -> Result<(), Error> {
        // All were taken while nobody else could have the file open; this one stays.
        lock::release_own_but(&self.file, program::ALL, program::byte_of(program))
            .map_err(|error| self.cannot("unlock", error))?;
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
}

/// A program whose keeper was killed is killed for it by the kernel, but has no lock meanwhile. All that is known
/// of it is the text, which may mean anybody by now: so only somebody who is on his way out anyway is waited for,
/// or whose parent is, and may be a keeper with whom he goes.
pub(super) fn wait_for_the_named(file: &File) -> io::Result<()> {
    let deadline = deadline_in(holder::DYING);
    let wait_if_dying = |pid| -> io::Result<()> {
        if let Ok(handle) = PidFd::open(pid)
            && proc::is_dying(pid)
        {
            wait_readable([Some(handle.as_fd())], deadline)?;
        }
        Ok(())
    };
    let Some(named) = contents::pid(file)? else {
        return Ok(());
    };
    let parent = proc::stat(named).ok().flatten().and_then(|stat| Pid::new(stat.parent));
    parent.map_or(Ok(()), wait_if_dying)?;
    wait_if_dying(named)
}
