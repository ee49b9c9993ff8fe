//! The operating system: the only `unsafe` and the only system calls of the crate.
//!
//! Everything Linux-specific is behind this door, so that a port is this folder and nothing else.
//! Functions here know nothing of daemons; they give each call a Rust type, check its result and
//! retry it when a signal interrupted it.

pub(crate) mod answer;
pub(crate) mod epoll;
pub(crate) mod fd;
pub(crate) mod fs;
pub(crate) mod hooks;
pub(crate) mod lock;
pub(crate) mod machine;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod rerun;
pub(crate) mod schedule;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod thread;
pub(crate) mod user;

use std::io;
use std::time::Duration;

/// Turns the `-1` of a libc call into the error in `errno`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Calls `f` again for as long as a signal interrupts it (`EINTR`, signal(7)).
pub(crate) fn retry<T>(mut f: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match f() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Calls `f` again where the kernel lacks memory (`ENOMEM`), or has no room for a lock (`ENOLCK`): that may be
/// over in a moment, and is no reason for a daemon to end, or to miss what it was told.
pub(crate) fn persist<T>(mut f: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(10);
    let mut left = TRIES;
    loop {
        match f() {
            Err(error)
                if left > 0
                    && matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOLCK)) =>
            {
                left -= 1;
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

/// Whether this process, or the machine, has not got what a call takes: that says nothing about what was
/// asked.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EAGAIN];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Whether the kernel lacks a call, or a seccomp filter denies it: the two look alike from here.
pub(crate) fn is_unavailable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL))
}
