//! Who holds a PID file, by the kernel's word wherever there is one.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::config::Location;
use crate::error::{Error, Kind};
use crate::sys::fd::{deadline_in, has_passed, wait_readable};
use crate::sys::fs::{Inode, Meta};
use crate::sys::lock::{self, Byte, Holder};
use crate::sys::proc;
use crate::sys::proc::files::{LockKind, holds_lock};
use crate::sys::process::{Pid, PidFd};

use super::program::{self, Program};
use super::{CLAIM, LIFE, STARTUP, STAYING, contents, signs, succession};

/// How long a process that is exiting may take to let go of its files.
pub(super) const DYING: Duration = Duration::from_secs(5);

/// What a PID file says about its daemon.
pub(crate) enum Presence {
    /// None is running; `broken` if there is a file whose contents are not a PID.
    Absent { broken: bool },
    /// One is being started and cannot be named yet.
    Starting,
    /// This one is running.
    Running(Running),
}

/// A daemon that was seen alive, and a way to signal it and nobody else.
pub(crate) struct Running {
    /// Who holds the file: the daemon, or the keeper of a program that is the daemon.
    pub(crate) holder: Pid,
    /// Refers to the process that was checked; an error where the kernel offers no such thing.
    pub(crate) handle: io::Result<PidFd>,
    pub(crate) program: Option<Program>,
    /// Whose place it has taken, after a reload.
    pub(crate) predecessor: Option<Pid>,
    /// The file that it holds.
    pub(crate) inode: Inode,
    /// That file, open: as long as it is, no other one can get its inode number.
    pub(crate) pin: Option<File>,
    /// Whether it has begun to end, and its shutdown hook runs.
    pub(crate) is_ending: bool,
}

impl Running {
    pub(super) fn new(holder: Pid, handle: io::Result<PidFd>, inode: Inode) -> Self {
        Self {
            holder,
            handle,
            program: None,
            predecessor: None,
            inode,
            pin: None,
            is_ending: false,
        }
    }

    /// With the program that it keeps, if it does. Once that has ended the daemon is ending, and nothing
    /// is left of it but its keeper.
    pub(super) fn keeping(mut self, program: Option<Program>) -> Self {
        self.is_ending |= program.as_ref().is_some_and(|program| program.is_dead);
        self.program = program.filter(|program| !program.is_dead);
        self
    }

    /// The daemon, as everybody knows it.
    pub(crate) fn pid(&self) -> Pid {
        self.program.as_ref().map_or(self.holder, |program| program.pid)
    }

    /// What refers to that.
    pub(crate) fn daemon(&self) -> &io::Result<PidFd> {
        self.program.as_ref().map_or(&self.handle, |program| &program.handle)
    }

    /// Whether it is on its way out: it holds its locks until the last of its threads has gone.
    pub(super) fn is_dying(&self) -> bool {
        self.handle.is_ok() && proc::is_dying(self.holder)
    }

    /// Waits for its end as long as one that is dying may take.
    pub(super) fn is_gone_in_time(&self) -> io::Result<bool> {
        let handle = self.handle.as_ref().ok().map(AsFd::as_fd);
        Ok(wait_readable([handle], deadline_in(DYING))? == [true])
    }
}

/// Whose `STARTUP` lock one would meet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Startup {
    Ours,
    Theirs,
}

/// Finds out who holds `file`, which was found at `location`.
pub(super) fn identify(
    location: &Location,
    place: Byte,
    file: &File,
    inode: Inode,
    startup: Startup,
) -> Result<Presence, Error> {
    /// Each question is answered at another moment, and others go on meanwhile: nobody is blamed
    /// before the same doubtful answers have come this often in a row...
    const DOUBTS: u32 = 8;
    /// ... and then for so long, at such intervals: one of those others may be stopped half-way, such as a
    /// daemon that has handed over to one that has died since.
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(10);
    let cannot = |error| location.cannot("examine the locks of", error);
    let (deadline, patience) = (deadline_in(DYING), deadline_in(PATIENCE));
    let mut doubts = 0;
    while doubts < DOUBTS || !has_passed(patience) {
        if doubts >= DOUBTS {
            wait_readable([None], deadline_in(PAUSE)).map_err(cannot)?;
        }
        match lock::holder(file, LIFE).map_err(cannot)? {
            Some(Holder::Process(pid)) => match confirm(location, place, file, inode, pid)? {
                Confirmed::Running(running) => return Ok(Presence::Running(running)),
                // It holds its locks until the last of its threads has gone.
                Confirmed::Dying(handle) => {
                    if wait_readable([Some(handle.as_fd())], deadline).map_err(cannot)?[0] {
                        // It may have left its locks to somebody else.
                        doubts += 1;
                        continue;
                    }
                    // Stuck in the kernel (a file server that does not answer, a freezer).
                    let running = Running::new(pid, Ok(handle), inode);
                    return Ok(Presence::Running(Running { is_ending: true, ..running }));
                }
                Confirmed::Not => {
                    doubts += 1;
                    continue;
                }
            },
            Some(Holder::Invisible) => {
                return Err(unidentified(location, "by a process outside this PID namespace"));
            }
            None => {}
        }
        if !lock::is_shared_held(file, CLAIM).map_err(cannot)? {
            let broken = contents::are_broken(file).map_err(|e| location.cannot("read", e))?;
            return Ok(Presence::Absent { broken });
        }
        if startup == Startup::Theirs && lock::is_shared_held(file, STARTUP).map_err(cannot)? {
            // A daemon that reloads has let go of `LIFE`, and its successor may not have it yet. Both have
            // the claim, and the text names one of them.
            let cannot = |error| location.cannot("read", error);
            let hint = contents::pid(file).map_err(cannot)?;
            if let Some(pid) = hint
                && let Suspect::Holder(handle) = Suspect::examine(location, place, pid, inode)
            {
                require_owner(location, file, pid)?;
                return Ok(Presence::Running(Running::new(pid, handle, inode)));
            }
            doubts += 1;
            if doubts >= DOUBTS || contents::are_absent(file).map_err(cannot)? {
                return Ok(Presence::Starting);
            }
            continue;
        }
        let meta = Meta::of(file).map_err(|error| location.cannot("examine", error))?;
        if meta.links == 0 && contents::are_absent(file).map_err(|e| location.cannot("read", e))? {
            // A daemon empties and removes its file when it ends; this one has not let go of it yet.
            return Ok(Presence::Absent { broken: false });
        }
        // Claimed, but not by a living daemon's own lock: it is dying, it has dropped that lock by
        // closing its PID file, or a stray child is holding on. The text is a hint whom to ask.
        let hint = contents::pid(file).map_err(|error| location.cannot("read", error))?;
        match hint.map(|pid| (pid, Suspect::examine(location, place, pid, inode))) {
            Some((pid, Suspect::Holder(handle))) => {
                // Asked again after the pidfd was opened, as in `confirm`.
                if matches!(Suspect::examine(location, place, pid, inode), Suspect::Holder(_)) {
                    require_owner(location, file, pid)?;
                    return Ok(Presence::Running(Running::new(pid, handle, inode)));
                }
                doubts += 1;
            }
            Some((_, Suspect::Dying(handle))) => {
                // The last of its threads has closed the files when this is readable.
                wait_readable([Some(handle.as_fd())], deadline).map_err(cannot)?;
                doubts += 1;
            }
            Some((_, Suspect::Stranger)) | None => doubts += 1,
        }
    }
    Err(unidentified(location, "by a process that is not the daemon"))
}

/// What the process is that the text of a claimed file names.
enum Suspect {
    /// It holds the claim, and is the daemon.
    Holder(io::Result<PidFd>),
    /// It is on its way out, and its files with it. A dead main thread may have living siblings.
    Dying(PidFd),
    /// It has nothing to do with the file, or may not be asked, or does not exist.
    Stranger,
}

impl Suspect {
    fn examine(location: &Location, place: Byte, pid: Pid, inode: Inode) -> Self {
        let handle = PidFd::open(pid);
        match (proc::stat(pid), handle) {
            (Ok(Some(stat)), Ok(handle)) if stat.is_on_its_way_out() => Self::Dying(handle),
            (Ok(Some(stat)), handle) if !stat.is_dead() => {
                // A claim can be handed to anybody, as a descriptor, and the text be written by the daemon's
                // user; the marks are the daemon's own.
                let holds = || {
                    Ok::<_, io::Error>(
                        holds_lock(pid, inode, LockKind::Shared, CLAIM)?
                            && signs::are_marked_by(location, pid, place)?,
                    )
                };
                match holds() {
                    Ok(true) => Self::Holder(handle),
                    _ => Self::Stranger,
                }
            }
            _ => Self::Stranger,
        }
    }
}

/// What the process is that the kernel names as the holder of `LIFE`.
enum Confirmed {
    Running(Running),
    Dying(PidFd),
    /// Gone, or not the one.
    Not,
}

/// Ties the holder of `LIFE` to a pidfd. The number that the kernel tells need not be the holder's
/// any more: a process that shares its descriptors with another one (`CLONE_FILES`, clone(2))
/// leaves its locks behind when it ends, under its number.
fn confirm(
    location: &Location,
    place: Byte,
    file: &File,
    inode: Inode,
    pid: Pid,
) -> Result<Confirmed, Error> {
    let holder =
        |byte| lock::holder(file, byte).map_err(|e| location.cannot("examine the locks of", e));
    let handle = match PidFd::open(pid) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(Confirmed::Not),
        other => other,
    };
    let mut running = Running::new(pid, handle, inode);
    // All asked *after* the pidfd was opened, which now cannot come to mean somebody else: whether
    // this process has the file open and the lock is its own, where that may be asked, ...
    let holds = holds_lock(pid, inode, LockKind::Record, LIFE);
    // (of a process on its way out, nobody but root may ask any more)
    if running.is_dying()
        && let Ok(handle) = running.handle
    {
        return Ok(Confirmed::Dying(handle));
    }
    match holds {
        Ok(true) => {}
        Ok(false) => return Ok(Confirmed::Not),
        // ... and where it may not, whether it acts as somebody who could be the daemon.
        Err(_) if is_plausible(location, file, pid)? => {}
        Err(_) => return Ok(Confirmed::Not),
    }
    // The file of another daemon may have been moved here: its holder lives elsewhere.
    let it = Some(Holder::Process(pid));
    if holder(LIFE)? != it || holder(place)? != it {
        return Ok(Confirmed::Not);
    }
    require_owner(location, file, pid)?;
    running.is_ending = holder(STAYING)? != it;
    let cannot = |error| location.cannot("examine the locks of", error);
    running.predecessor = succession::predecessor_of(file, pid).map_err(cannot)?;
    Ok(Confirmed::Running(running.keeping(program::find(file, pid).map_err(cannot)?)))
}

/// Whether it may be the daemon for all that its user tells. Refuses a process that acts as one who neither
/// owns the file nor is the daemon's or our own. Our own is the daemon's only until that has given up its
/// privileges: later the number may have come to one of us, and the lock be that of somebody who is gone.
fn is_plausible(location: &Location, file: &File, pid: Pid) -> Result<bool, Error> {
    let meta = Meta::of(file).map_err(|error| location.cannot("examine", error))?;
    match proc::user(pid) {
        Ok(Some(user)) if location.trusted.is_daemons(user) => Ok(true),
        Ok(Some(user)) if location.trusted.includes(user) => Ok(false),
        Ok(Some(user)) if user != meta.uid => {
            Err(unidentified(location, "by a process of a user who cannot be the daemon's"))
        }
        // Without /proc there is only the kernel's word for the lock.
        _ => Ok(true),
    }
}

/// Whoever owns the file can lock it and so pose as the daemon, and so can the user that the daemon
/// or its worker has become. He may do so with his own processes, but not pass off another user's (a
/// set-user-ID program) as it.
fn require_owner(location: &Location, file: &File, pid: Pid) -> Result<(), Error> {
    let meta = Meta::of(file).map_err(|error| location.cannot("examine", error))?;
    let is_trusted = location.trusted.includes(meta.uid);
    match proc::users(pid) {
        Ok(users) if location.trusted.is_lent(&users) || proc::is_set_id(pid) => {
            Err(unidentified(location, "by a set-user-ID program that another user has run"))
        }
        Ok(users) if !is_trusted && users.get(1).is_some_and(|user| *user != meta.uid) => {
            Err(unidentified(location, "on behalf of a user who does not own the file"))
        }
        Err(error) if !is_trusted => Err(location.cannot("examine the holder of", error)),
        // Without /proc there is only the kernel's word for the lock.
        _ => Ok(()),
    }
}

fn unidentified(location: &Location, by: &str) -> Error {
    let path = &location.path;
    let message =
        format!("PID file {path:?} is locked {by}, so nobody can be named as it (see lslocks)");
    Error::new(Kind::Identity, message)
}
