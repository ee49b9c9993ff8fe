//! Who is of the daemon's group, and may outlive it.

#![forbid(unsafe_code)]

use std::io;

use crate::sys::proc;
use crate::sys::process::{self, Pid, PidFd};
use crate::sys::signal::Signal;

use super::super::{Event, Events, unsent};

/// Gives a signal to all that is left of the daemon's group.
pub(super) fn pass_on(signal: Signal, events: Events<'_>) -> io::Result<()> {
    for pid in proc::group(process::group())? {
        let Ok(handle) = PidFd::open(pid) else { continue };
        // Asked after the handle was opened.
        if is_one(pid)
            && let Err(error) = handle.send(signal)
            // It has just ended.
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            events(Event::Warning(unsent(signal, pid, &error)));
        }
    }
    Ok(())
}

/// A living process of the daemon's group other than this one.
pub(super) fn another() -> io::Result<Option<Pid>> {
    Ok(proc::group(process::group())?.into_iter().find(|pid| is_one(*pid)))
}

/// Whether it lives, is of the daemon's group, and another process than this one. Where this process does
/// not lead the group, it shares it with strangers (a script, a pipeline), and only its own descendants
/// count.
pub(super) fn is_one(pid: Pid) -> bool {
    let (me, group) = (Pid::current(), process::group());
    let is_ours =
        |stat: &proc::Stat| group == me.get() || proc::is_descendant(stat, me).unwrap_or(false);
    pid != me
        && process::group_of(pid).is_ok_and(|its| its == group)
        && matches!(proc::stat(pid), Ok(Some(stat)) if !stat.is_dead() && is_ours(&stat))
}
