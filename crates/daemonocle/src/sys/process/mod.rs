//! Processes: fork(2), sessions, waiting, and the pidfd that names one for good.

mod child;

use std::fmt;
use std::io;
use std::num::NonZeroI32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process as rx;

use super::answer::Ticket;
use super::hooks::keeping_descriptors;
use super::signal::arrival::Polite;
use super::signal::{Blocked, Signal};
use super::{check, proc, user};

pub(crate) use child::{
    Children, ended_child, has_children, is_child, kill_child, send_to_child, signal_child,
    try_wait, wait, wait_for_death,
};

/// The number of a process: always positive, so that it can never be taken for a group or for
/// "everybody" by kill(2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// The process with this number, or `None` unless the number is positive.
    ///
    /// ```
    /// use daemonocle::Pid;
    /// assert_eq!(Pid::new(42).map(Pid::get), Some(42));
    /// assert_eq!(Pid::new(0), None);
    /// assert_eq!(Pid::new(-1), None);
    /// ```
    #[must_use]
    pub const fn new(number: i32) -> Option<Self> {
        match NonZeroI32::new(number) {
            Some(number) if number.get() > 0 => Some(Self(number)),
            _ => None,
        }
    }

    /// The calling process, getpid(2).
    ///
    /// ```
    /// assert_eq!(daemonocle::Pid::current().get() as u32, std::process::id());
    /// ```
    #[must_use]
    pub fn current() -> Self {
        Self::from(rx::getpid())
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0.get()
    }
}

impl From<rx::Pid> for Pid {
    fn from(pid: rx::Pid) -> Self {
        Self(pid.as_raw_nonzero())
    }
}

impl From<Pid> for rx::Pid {
    fn from(pid: Pid) -> Self {
        // `Pid` is positive by construction, the only condition of `from_raw`.
        rx::Pid::from_raw(pid.get()).unwrap_or(rx::Pid::INIT)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pid({})", self.0)
    }
}

/// The session of a process, getsid(2).
pub(crate) fn session_of(pid: Pid) -> io::Result<i32> {
    Ok(rx::getsid(Some(pid.into()))?.as_raw_pid())
}

/// The parent of this process, or `None` when it lives in another PID namespace.
pub(crate) fn parent() -> Option<Pid> {
    rx::getppid().map(Pid::from)
}

/// Proof that the calling process had one thread when it was asked.
///
/// A forked child owns a copy of every lock that other threads held, and nobody to release them;
/// [`fork`] therefore wants to see this first.
#[derive(Clone, Copy)]
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the threads; `Err` carries their number, 0 when only "more than one" is known.
    pub(crate) fn check() -> Result<Self, u32> {
        // unshare(2) with CLONE_THREAD is defined to do nothing in a process with one thread and to
        // fail with EINVAL in any other; a seccomp filter may fail it for reasons of its own.
        // SAFETY: the call has no effect on a process for which it succeeds, see above.
        let Err(_) = check(unsafe { libc::unshare(libc::CLONE_THREAD) }) else {
            return Ok(Self(()));
        };
        match proc::own_stat() {
            Some(stat) if stat.threads == 1 => Ok(Self(())),
            Some(stat) => Err(stat.threads),
            // No /proc; and if the call was denied, it said nothing. Better no daemon than a fork
            // that nobody can vouch for.
            None => Err(0),
        }
    }
}

/// Which side of a [`fork`] one is on.
pub(crate) enum Fork {
    /// The caller goes on, and this is its new child.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Copies the calling process, fork(2).
pub(crate) fn fork(_proof: SingleThreaded) -> io::Result<Fork> {
    // SAFETY: the caller has shown that no other thread exists whose locks the child would
    // inherit, so the child may run any code; the library creates no thread before it forks.
    let pid = check(unsafe { libc::fork() })?;
    Ok(Pid::new(pid).map_or(Fork::Child, Fork::Parent))
}

/// A child that makes a few system calls in the place of its parent, so that these can be given up.
/// It ends with its parent, and when this is dropped.
pub(crate) struct Assistant(Pid);

impl Assistant {
    /// Makes a child that does `work`, which must make nothing but system calls: the child has a
    /// copy of every lock that other threads hold, that of the memory allocator included.
    pub(crate) fn new(work: impl FnOnce()) -> io::Result<Self> {
        let parent = Pid::current();
        // Signals are for the parent; handlers of its own must not run twice.
        let _blocked = Blocked::all()?;
        // SAFETY: until it ends, the child makes only system calls (see above), which are all that
        // is allowed in the child of a process with threads (signal-safety(7)).
        match Pid::new(check(keeping_descriptors(|| unsafe { libc::fork() }))?) {
            Some(child) => Ok(Self(child)),
            None => {
                let bound = rx::set_parent_process_death_signal(Some(rx::Signal::KILL));
                // The parent may have died before that.
                if bound.is_ok() && self::parent() == Some(parent) {
                    work();
                }
                exit_now(0)
            }
        }
    }
}

impl Drop for Assistant {
    fn drop(&mut self) {
        signal_child(self.0, Signal::KILL);
        let _ = wait(Children::One(self.0));
    }
}

/// Ends the process at once, _exit(2): no destructors, no atexit handlers, no flushing.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes any integer and does not return; nothing of ours runs after it.
    unsafe { libc::_exit(code) }
}

/// Makes the caller the leader of a new session without a terminal, setsid(2).
pub(crate) fn new_session() -> io::Result<()> {
    Ok(rx::setsid().map(drop)?)
}

/// Makes the caller the leader of a process group of its own, setpgid(2).
pub(crate) fn new_group() -> io::Result<()> {
    Ok(rx::setpgid(None, None)?)
}

/// The process group of the caller, getpgrp(2): 0 when its leader lives outside this PID namespace.
pub(crate) fn group() -> i32 {
    // SAFETY: takes nothing, touches nothing, cannot fail.
    unsafe { libc::getpgrp() }
}

/// The process group of a process, getpgid(2); 0 as in [`group`].
pub(crate) fn group_of(pid: Pid) -> io::Result<i32> {
    // SAFETY: takes a number.
    check(unsafe { libc::getpgid(pid.get()) })
}

/// While it lives, orphaned descendants become children of this process, so that their end can
/// be waited for (`PR_SET_CHILD_SUBREAPER`, prctl(2)).
pub(crate) struct Subreaper(());

impl Subreaper {
    pub(crate) fn begin() -> io::Result<Self> {
        rx::set_child_subreaper(Some(rx::getpid()))?;
        Ok(Self(()))
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        // The only errors of this prctl are about its arguments, and these are right.
        let _ = rx::set_child_subreaper(None);
    }
}

/// Kills every process of a group; no such group is no error.
pub(crate) fn kill_group(group: Pid) {
    // ESRCH means that they are gone, EPERM that what is left is not ours to end.
    let _ = rx::kill_process_group(group.into(), rx::Signal::KILL);
}

/// A descriptor that means one process and never another one, pidfd_open(2).
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// Refers to whatever process has this number now; the caller checks who that is *after* it.
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        Ok(Self(rx::pidfd_open(pid.into(), rx::PidfdFlags::empty())?))
    }

    /// Sends a signal with a mark that says "the same as before, if you have it already": one that
    /// the library's own handlers understand, and that is any signal to everybody else.
    pub(crate) fn ask(&self, signal: Signal) -> io::Result<()> {
        self.ask_with(signal, None)
    }

    /// As [`ask`](Self::ask), and says where an answer is awaited.
    pub(crate) fn ask_with(&self, signal: Signal, ticket: Option<Ticket>) -> io::Result<()> {
        let info = Polite::new(signal, ticket);
        let fd = self.0.as_raw_fd();
        // SAFETY: the descriptor is open, and `info` is laid out as the kernel wants it, and valid
        // for the whole call.
        let result = check(unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.number(), &raw const info, 0)
                as libc::c_int
        });
        result.map(drop)
    }

    /// Sends a signal, pidfd_send_signal(2). `ESRCH`: it has ended.
    pub(crate) fn send(&self, signal: Signal) -> io::Result<()> {
        Ok(rx::pidfd_send_signal(&self.0, signal.to_rustix())?)
    }
}

impl AsFd for PidFd {
    /// Readable once the process, all its threads included, has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Changes the root directory, and the working directory into it, so that nothing outside stays
/// within reach of a relative path: fchdir(2), chroot(2).
pub(crate) fn change_root(root: impl AsFd) -> io::Result<()> {
    user::close_database();
    rx::fchdir(root)?;
    rx::chroot(".")?;
    Ok(rx::chdir("/")?)
}

/// Sets both limits of `RLIMIT_CORE` to 0, setrlimit(2).
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    let none = rx::Rlimit { current: Some(0), maximum: Some(0) };
    Ok(rx::setrlimit(rx::Resource::Core, none)?)
}

/// Sets the file mode creation mask, umask(2), which cannot fail.
pub(crate) fn set_umask(mask: u32) {
    rx::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// Writes out what this program, in Rust or in C, has printed and not written yet, fflush(3).
pub(crate) fn flush_streams() {
    use std::io::Write as _;
    let _ = io::stdout().flush();
    // SAFETY: a null stream means all of them; each is locked while it is written.
    let _ = unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// More open files than the caller's limit allows (`RLIMIT_NOFILE`, getrlimit(2)), as many as it may
/// have at all, for as long as this lives.
pub(crate) struct MoreFiles(rx::Rlimit);

impl MoreFiles {
    /// The error is the number of files that are allowed, if `more` of them are not.
    pub(crate) fn allow(more: u64) -> Result<Self, u64> {
        let limit = rx::getrlimit(rx::Resource::Nofile);
        // Without /proc it is anybody's guess, and shows when there are too many.
        let open = proc::numbers("/proc/self/fd").map_or(0, |open| open.len() as u64);
        let needed = more.saturating_add(open);
        if let Some(most) = limit.maximum.filter(|most| *most < needed) {
            return Err(most);
        }
        if limit.current.is_some_and(|current| current < needed) {
            // It cannot fail: anybody may have as much as the hard limit says.
            let _ =
                rx::setrlimit(rx::Resource::Nofile, rx::Rlimit { current: limit.maximum, ..limit });
        }
        Ok(Self(limit))
    }

    /// Sets the limit back, in a forked child. What is open above it stays so.
    pub(crate) fn give_back(&self) {
        let _ = rx::setrlimit(rx::Resource::Nofile, self.0);
    }
}

impl Drop for MoreFiles {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Whether any process has this number now, asked with signal 0, which is none (kill(2)).
pub(crate) fn exists(pid: Pid) -> bool {
    // EPERM: there is one, and it is somebody else's.
    !matches!(rx::test_kill_process(pid.into()), Err(rustix::io::Errno::SRCH))
}
