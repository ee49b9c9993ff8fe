//! Signals: their names, the dispositions a daemon starts with, and how they are blocked.

pub(crate) mod arrival;

use std::fmt;
use std::io;

use rustix::process as rx;

use super::check;

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
    pub(crate) const TSTP: Self = Self(libc::SIGTSTP);
    pub(crate) const XFSZ: Self = Self(libc::SIGXFSZ);

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

    /// Whether a process may have a handler for it: not SIGKILL and SIGSTOP, and not what the C
    /// library keeps for itself (signal(7)).
    pub(crate) const fn can_be_handled(self) -> bool {
        !matches!(self.0, libc::SIGKILL | libc::SIGSTOP | 32 | 33)
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
        if number == libc::SIGPIPE || !Signal(number).can_be_handled() {
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
        Self::set(&set_of(signals)?)
    }

    /// Every signal that can be blocked.
    pub(crate) fn all() -> io::Result<Self> {
        // SAFETY: all-zero bytes are the empty signal set on Linux.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is a valid set for the whole call.
        check(unsafe { libc::sigfillset(&raw mut set) })?;
        Self::set(&set)
    }

    fn set(set: &libc::sigset_t) -> io::Result<Self> {
        // SAFETY: all-zero bytes are the empty signal set on Linux.
        let mut before: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: both sets are valid for the whole call.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, &raw mut before) } {
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

fn set_of(signals: &[Signal]) -> io::Result<libc::sigset_t> {
    // SAFETY: all-zero bytes are the empty signal set on Linux.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in signals {
        // SAFETY: `set` is a valid set, and every `Signal` a number from 1 to 64.
        check(unsafe { libc::sigaddset(&raw mut set, signal.number()) })?;
    }
    Ok(set)
}

/// While it lives, a child that ends stays to be waited for, whatever the process has said about
/// SIGCHLD: were that ignored, nobody would learn how the child died (wait(2)). For a process with
/// one thread.
pub(crate) struct ChildrenStay(libc::sigaction);

impl ChildrenStay {
    pub(crate) fn begin() -> io::Result<Self> {
        // SAFETY: all-zero bytes are a valid `sigaction`: SIG_DFL, no flags, an empty mask.
        let default: libc::sigaction = unsafe { std::mem::zeroed() };
        let mut before = default;
        // SAFETY: SIG_DFL runs no code of ours, and both are valid for the whole call.
        check(unsafe { libc::sigaction(libc::SIGCHLD, &raw const default, &raw mut before) })?;
        Ok(Self(before))
    }
}

impl Drop for ChildrenStay {
    fn drop(&mut self) {
        // SAFETY: the action is the one that was in force before; the call cannot fail for it.
        unsafe { libc::sigaction(libc::SIGCHLD, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// Does `f` while a signal is ignored, so that what it would have reported shows as an error. For a
/// process with one thread.
pub(crate) fn ignoring<T>(signal: Signal, f: impl FnOnce() -> T) -> io::Result<T> {
    // SAFETY: all-zero bytes are a valid `sigaction`: no flags, an empty mask.
    let mut ignore: libc::sigaction = unsafe { std::mem::zeroed() };
    ignore.sa_sigaction = libc::SIG_IGN;
    let mut before = ignore;
    let number = signal.number();
    // SAFETY: SIG_IGN runs no code, and both are valid for the whole call.
    check(unsafe { libc::sigaction(number, &raw const ignore, &raw mut before) })?;
    let result = f();
    // SAFETY: the action is the one that was in force before.
    check(unsafe { libc::sigaction(number, &raw const before, std::ptr::null_mut()) })?;
    Ok(result)
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

/// Stops this process by a TSTP that has come and is blocked, as Ctrl-Z does one that does not handle it;
/// returns when it goes on. Not if a CONT has come since: then there is no such TSTP any more (signal(7)). For a
/// process with one thread.
pub(crate) fn stop_if_asked() -> io::Result<()> {
    let signals = set_of(&[Signal::TSTP])?;
    // SAFETY: all-zero bytes are a valid `sigaction`: SIG_DFL, no flags, an empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    let mut before = default;
    let number = Signal::TSTP.number();
    // SAFETY: SIG_DFL runs no code of ours, and both are valid for the whole call.
    check(unsafe { libc::sigaction(number, &raw const default, &raw mut before) })?;
    for how in [libc::SIG_UNBLOCK, libc::SIG_BLOCK] {
        // SAFETY: the set is valid for the whole call; it fails only for a wrong "how".
        unsafe { libc::pthread_sigmask(how, &raw const signals, std::ptr::null_mut()) };
    }
    // SAFETY: the action is the one that was in force before.
    check(unsafe { libc::sigaction(number, &raw const before, std::ptr::null_mut()) }).map(drop)
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
}
