//! Children: how they end, and signals to them.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process as rx;

use super::{Pid, PidFd};
use crate::sys::signal::Signal;
use crate::sys::{check, retry};

/// Which children [`wait`] means.
#[derive(Clone, Copy)]
pub(crate) enum Children {
    /// One child.
    One(Pid),
    /// Every child.
    Any,
    /// Every child in the caller's process group.
    Group,
}

/// Waits for a child to end and collects it, waitpid(2). `None`: there is no such child.
pub(crate) fn wait(children: Children) -> io::Result<Option<(Pid, ExitStatus)>> {
    wait_with(children, 0)
}

/// As [`wait`], but `None` also when children exist and none has ended.
pub(crate) fn try_wait(children: Children) -> io::Result<Option<(Pid, ExitStatus)>> {
    wait_with(children, libc::WNOHANG)
}

fn wait_with(children: Children, flags: libc::c_int) -> io::Result<Option<(Pid, ExitStatus)>> {
    let target = match children {
        Children::One(pid) => pid.get(),
        Children::Any => -1,
        Children::Group => 0,
    };
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int for the whole call.
    match retry(|| check(unsafe { libc::waitpid(target, &raw mut status, flags) })) {
        Ok(pid) => Ok(Pid::new(pid).map(|pid| (pid, ExitStatus::from_raw(status)))),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A child that has ended, without burying it (`WNOWAIT`, waitid(2)).
pub(crate) fn ended_child() -> Option<Pid> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid place for the answer for the whole call.
    retry(|| check(unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) })).ok()?;
    // SAFETY: all bytes zero are a valid value, and the kernel has written no other ones.
    let info = unsafe { info.assume_init() };
    // SAFETY: after waitid(2) this is the member that counts; it stays zero if nobody has ended.
    Pid::new(unsafe { info.si_pid() })
}

/// Whether there is any child, dead or alive.
pub(crate) fn has_children() -> bool {
    let options = rx::WaitIdOptions::EXITED | rx::WaitIdOptions::NOWAIT | rx::WaitIdOptions::NOHANG;
    retry(|| Ok(rx::waitid(rx::WaitId::All, options)?)).is_ok()
}

/// How a child has ended, without burying it (`WNOWAIT`, waitid(2)).
fn peek(child: Pid, more: rx::WaitIdOptions) -> io::Result<Option<rx::WaitIdStatus>> {
    let options = rx::WaitIdOptions::EXITED | rx::WaitIdOptions::NOWAIT | more;
    retry(|| Ok(rx::waitid(rx::WaitId::Pid(child.into()), options)?))
}

/// Whether a child has ended, without burying it (`WNOWAIT`, waitid(2)).
fn has_ended(child: Pid) -> bool {
    // No such child: somebody else has buried it.
    !matches!(peek(child, rx::WaitIdOptions::NOHANG), Ok(None))
}

/// Whether this is a child that nobody has buried, dead or alive.
pub(crate) fn is_child(child: Pid) -> bool {
    peek(child, rx::WaitIdOptions::NOHANG).is_ok()
}

/// Waits until a child has ended, without burying it.
pub(crate) fn wait_for_death(child: Pid) {
    // An error: there is no such child, for somebody else has buried it.
    let _ = peek(child, rx::WaitIdOptions::empty());
}

/// Sends a signal to a child that has not been buried, and whose number is therefore its own (kill(2)).
/// `EPERM` if it has changed its user: then only it can end itself.
pub(crate) fn send_to_child(child: Pid, signal: Signal) -> io::Result<()> {
    Ok(rx::kill_process(child.into(), signal.to_rustix())?)
}

/// [`send_to_child`], where nobody is left who could be told of a failure.
pub(crate) fn kill_child(child: Pid, signal: Signal) {
    let _ = send_to_child(child, signal);
}

/// Sends a signal to a child that somebody else may bury at any moment, for instance the kernel, where
/// SIGCHLD is ignored: its number may become anybody's then.
pub(crate) fn signal_child(child: Pid, signal: Signal) {
    // First the handle: if it is a child that lives after that, it is what the handle means.
    let handle = PidFd::open(child);
    if !has_ended(child) {
        match handle {
            Ok(handle) => drop(handle.send(signal)),
            Err(_) => kill_child(child, signal),
        }
    }
}
