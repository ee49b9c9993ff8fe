//! Signals: their names, the dispositions a daemon starts with, and a pipe they arrive on.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::process as rx;

use super::process::Pid;
use super::{check, retry};

/// A signal, signal(7). As text it has its name and number.
///
/// ```
/// use daemonocle::Signal;
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM (15)");
/// assert_eq!(Signal::USR1.number(), 10);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

/// The standard signals of Linux by number, as on every architecture but MIPS, SPARC and Alpha.
const NAMES: [(i32, &str); 31] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGKILL, "SIGKILL"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGSTKFLT, "SIGSTKFLT"),
    (libc::SIGCHLD, "SIGCHLD"),
    (libc::SIGCONT, "SIGCONT"),
    (libc::SIGSTOP, "SIGSTOP"),
    (libc::SIGTSTP, "SIGTSTP"),
    (libc::SIGTTIN, "SIGTTIN"),
    (libc::SIGTTOU, "SIGTTOU"),
    (libc::SIGURG, "SIGURG"),
    (libc::SIGXCPU, "SIGXCPU"),
    (libc::SIGXFSZ, "SIGXFSZ"),
    (libc::SIGVTALRM, "SIGVTALRM"),
    (libc::SIGPROF, "SIGPROF"),
    (libc::SIGWINCH, "SIGWINCH"),
    (libc::SIGIO, "SIGIO"),
    (libc::SIGPWR, "SIGPWR"),
    (libc::SIGSYS, "SIGSYS"),
];

impl Signal {
    /// Hang-up of the controlling terminal, by convention "read the configuration again".
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Ctrl-C.
    pub const INT: Self = Self(libc::SIGINT);
    /// Ctrl-\\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// Cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// The polite request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// Free for the program's own use.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// Free for the program's own use.
    pub const USR2: Self = Self(libc::SIGUSR2);
    pub(crate) const CHLD: Self = Self(libc::SIGCHLD);
    pub(crate) const CONT: Self = Self(libc::SIGCONT);
    pub(crate) const STOP: Self = Self(libc::SIGSTOP);
    pub(crate) const TSTP: Self = Self(libc::SIGTSTP);

    /// The signal with this number, 1 to 64.
    ///
    /// ```
    /// use daemonocle::Signal;
    /// assert_eq!(Signal::new(15), Some(Signal::TERM));
    /// assert_eq!(Signal::new(0), None);
    /// ```
    #[must_use]
    pub const fn new(number: i32) -> Option<Self> {
        if number >= 1 && number <= 64 { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The exit code by which a shell tells that a program ended by this signal: 128 + number.
    pub(crate) const fn exit_code(self) -> u8 {
        // At most 128 + 64.
        (128 + self.0) as u8
    }

    pub(crate) fn to_rustix(self) -> rx::Signal {
        rx::Signal::from_named_raw(self.0).unwrap_or(rx::Signal::TERM)
    }
}

impl fmt::Display for Signal {
    /// As in `SIGTERM (15)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((number, name)) => write!(f, "{name} ({number})"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Gives ignored signals their default action back and unblocks all of them.
///
/// A shell, `nohup` or a careless parent hands its ignored and blocked signals on through exec(2);
/// a daemon that inherits a blocked SIGTERM cannot be stopped. SIGPIPE stays ignored, as the Rust
/// runtime wants it; handlers that the program installed itself stay too.
pub(crate) fn reset() -> io::Result<()> {
    for number in 1..=64 {
        // SIGKILL and SIGSTOP have no other action, 32 and 33 belong to the C library.
        if matches!(number, libc::SIGKILL | libc::SIGSTOP | libc::SIGPIPE | 32 | 33) {
            continue;
        }
        // SAFETY: all-zero bytes are a valid `sigaction`: SIG_DFL, no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: asks only: the new action is null, and `action` is a valid place for the old.
        check(unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) })?;
        if action.sa_sigaction == libc::SIG_IGN {
            restore_default(number)?;
        }
    }
    unblock_all()
}

fn restore_default(number: libc::c_int) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `sigaction`: SIG_DFL, no flags, an empty mask.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: SIG_DFL runs no code of ours, and `action` is valid for the whole call.
    check(unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) }).map(drop)
}

fn unblock_all() -> io::Result<()> {
    // SAFETY: all-zero bytes are the empty signal set on Linux.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is a valid signal set for the whole call, and the old one is not asked for.
    let code =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// Holds signals back while it lives; those that came are delivered when it goes.
pub(crate) struct Blocked(libc::sigset_t);

impl Blocked {
    pub(crate) fn new(signals: &[Signal]) -> io::Result<Self> {
        // SAFETY: all-zero bytes are the empty signal set on Linux.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        for signal in signals {
            // SAFETY: `set` is a valid set, and every `Signal` a number from 1 to 64.
            check(unsafe { libc::sigaddset(&raw mut set, signal.number()) })?;
        }
        // SAFETY: as above.
        let mut before: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: both sets are valid for the whole call.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) } {
            0 => Ok(Self(before)),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the kernel gave; the call fails only for a wrong "how".
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}

/// Ends this process as `signal` ends a process that has never heard of it.
///
/// Returns when it cannot be done: PID 1 is immune to the default action of its own signals, and
/// some signals do not end a process.
pub(crate) fn die_by(signal: Signal) {
    // SIGKILL needs no default action, and sigaction(2) refuses to give it one.
    if signal != Signal::KILL && restore_default(signal.number()).is_err() {
        return;
    }
    if unblock_all().is_ok() {
        // To this thread, so that it is delivered before the call returns; being fatal, it ends
        // all of them. To the process as a whole, another thread might take it, in its own time.
        // SAFETY: takes a number; what runs is the default action.
        unsafe { libc::raise(signal.number()) };
    }
}

/// Stops this process as Ctrl-Z does one that does not handle it; returns when it goes on.
pub(crate) fn stop_self() {
    let _ = rx::kill_process(rx::getpid(), Signal::STOP.to_rustix());
}

/// A signal that has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) signal: Signal,
    pub(crate) sender: Sender,
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The terminal, a timer, the kernel itself.
    Kernel,
    /// A process, if it can be seen from here.
    Process(Option<Pid>),
    /// A process that asks for the end and will ask again if need be: see [`Polite`].
    Polite,
}

/// A signal that carries a mark, by which its receiver can tell it from one of kill(1): it asks
/// for the end, and when it comes again it does not ask for more (`SI_QUEUE`, sigaction(2)).
///
/// The layout is the kernel's `siginfo_t` for signals of rt_sigqueueinfo(2).
#[repr(C)]
pub(super) struct Polite {
    number: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    #[cfg(target_pointer_width = "64")]
    padding: libc::c_int,
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: usize,
    rest: [usize; 12],
}

const MARK: usize = 0x6461_656d;

impl Polite {
    pub(super) fn new(signal: Signal) -> Self {
        Self {
            number: signal.number(),
            errno: 0,
            code: libc::SI_QUEUE,
            #[cfg(target_pointer_width = "64")]
            padding: 0,
            pid: Pid::current().get(),
            uid: rx::getuid().as_raw(),
            value: MARK,
            rest: [0; 12],
        }
    }
}

// 128 bytes on every architecture (`SI_MAX_SIZE`).
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Polite>() == 128);

/// A descriptor on which signals arrive as data.
///
/// The handler does nothing but write to a pipe. It is installed through `signal-hook-registry`,
/// so that other users of that registry (tokio, `signal-hook`) in the same process go on working.
pub(crate) struct Signals(OwnedFd);

impl Signals {
    pub(crate) fn register(signals: &[Signal]) -> io::Result<Self> {
        use rustix::pipe::{PipeFlags, pipe_with};
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        // A full pipe must not block a handler; thousands of unread signals are one signal.
        rustix::io::ioctl_fionbio(&write, true)?;
        let write = Arc::new(write);
        let owner = Pid::current();
        for &signal in signals {
            let write = Arc::clone(&write);
            // SAFETY: the handler calls getpid(2), write(2) and, in a stray child that it
            // ends, sigaction(2), pthread_sigmask(3) and raise(3), all async-signal-safe
            // (signal-safety(7)); it allocates nothing, takes no lock, and the first two, by
            // rustix, leave `errno` alone.
            unsafe {
                signal_hook_registry::register_unchecked(signal.number(), move |info| {
                    handle(&write, owner, signal, info);
                })
            }?;
        }
        Ok(Self(read))
    }

    /// The next signal; blocks until there is one.
    pub(crate) fn next(&self) -> io::Result<Arrival> {
        let mut record = [0; RECORD];
        // Records are written whole (they are shorter than PIPE_BUF) and so are read whole.
        let read = retry(|| Ok(rustix::io::read(&self.0, &mut record)?))?;
        if read == RECORD {
            decode(record).ok_or_else(|| io::ErrorKind::InvalidData.into())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const RECORD: usize = 8;

/// What stands in a record where there is no PID.
const KERNEL: i32 = -1;
const POLITE: i32 = -2;

fn decode(record: [u8; RECORD]) -> Option<Arrival> {
    let [a, b, c, d, e, f, g, h] = record;
    let sender = match i32::from_ne_bytes([e, f, g, h]) {
        KERNEL => Sender::Kernel,
        POLITE => Sender::Polite,
        pid => Sender::Process(Pid::new(pid)),
    };
    Some(Arrival { signal: Signal::new(i32::from_ne_bytes([a, b, c, d]))?, sender })
}

/// Runs inside the signal handler.
fn handle(pipe: &OwnedFd, owner: Pid, signal: Signal, info: &libc::siginfo_t) {
    if Pid::current() != owner {
        // A child that was forked without exec inherits the handler and the pipe; a signal to it
        // is none to the daemon. It ends as if nobody had caught anything.
        die_by(signal);
        return;
    }
    let sender = match info.si_code {
        libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL => {
            // SAFETY: these three codes say that the sender's PID has been filled in.
            unsafe { info.si_pid() }
        }
        _ => KERNEL,
    };
    // SAFETY: this code says that a value has been filled in.
    let is_polite =
        info.si_code == libc::SI_QUEUE && unsafe { info.si_value() }.sival_ptr.addr() == MARK;
    let sender = if is_polite { POLITE } else { sender };
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&signal.number().to_ne_bytes());
    record[4..].copy_from_slice(&sender.to_ne_bytes());
    // EAGAIN: see `register`. EINTR cannot be: a write to a pipe that does not block is atomic.
    let _ = rustix::io::write(pipe, &record);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_shown_by_name_and_number() {
        assert_eq!(Signal::TERM.to_string(), "SIGTERM (15)");
        assert_eq!(Signal(40).to_string(), "signal 40");
        assert_eq!(Signal::KILL.exit_code(), 137);
    }

    #[test]
    fn records_survive_the_pipe() {
        let mut record = [0; RECORD];
        record[..4].copy_from_slice(&15_i32.to_ne_bytes());
        record[4..].copy_from_slice(&77_i32.to_ne_bytes());
        let arrival = decode(record).map(|a| (a.signal, a.sender));
        assert_eq!(arrival, Some((Signal::TERM, Sender::Process(Pid::new(77)))));
        assert!(decode([0; RECORD]).is_none());
    }
}
