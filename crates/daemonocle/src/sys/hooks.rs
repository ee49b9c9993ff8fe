//! Two moments at which the C library calls back: a fork(3) and an exit(3) by somebody else's code.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::process::Pid;

/// What a forked child of the daemon must not keep: at most this many descriptors.
const MOST: usize = 10;

static CLOSE_IN_CHILD: [AtomicI32; MOST] = [const { AtomicI32::new(-1) }; MOST];

/// Closes `fds` in every child that this process forks from now on without exec.
///
/// Close-on-exec does nothing for such a child, which would go on holding the daemon's lock after
/// the daemon itself has died. The descriptors must stay open in this process for ever.
pub(crate) fn close_in_forked_children(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    for (slot, fd) in CLOSE_IN_CHILD.iter().zip(fds) {
        slot.store(fd.as_raw_fd(), Ordering::SeqCst);
    }
    // SAFETY: `in_child` only uses atomics and calls close(2), both allowed in the child of a
    // process with threads (pthread_atfork(3), signal-safety(7)).
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

thread_local! {
    static KEEPS: Cell<bool> = const { Cell::new(false) };
}

/// Does `f`, in which a child of this thread's keeps those descriptors until it calls exec(2).
pub(crate) fn keeping_descriptors<T>(f: impl FnOnce() -> T) -> T {
    KEEPS.set(true);
    let result = f();
    KEEPS.set(false);
    result
}

/// Adds one to those, for a while.
pub(crate) fn also_close_in_forked_children(fd: BorrowedFd<'_>) {
    let _ = CLOSE_IN_CHILD.iter().find(|slot| {
        slot.compare_exchange(-1, fd.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    });
}

/// Takes a descriptor off that list before it is closed in this process.
pub(crate) fn forget_in_forked_children(fd: RawFd) {
    for slot in &CLOSE_IN_CHILD {
        let _ = slot.compare_exchange(fd, -1, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// Whether this process is a copy of the daemon, made by fork(2), and not the daemon. Numbers do not
/// tell: in a PID namespace of its own the copy may have the daemon's.
static IS_COPY: AtomicBool = AtomicBool::new(false);

/// Whether this process is a copy of the daemon that its worker has forked.
pub(crate) fn is_copy() -> bool {
    IS_COPY.load(Ordering::SeqCst)
}

extern "C" fn in_child() {
    IS_COPY.store(true, Ordering::SeqCst);
    // The child's only thread is a copy of the one that has called fork(2).
    if KEEPS.get() {
        return;
    }
    for slot in &CLOSE_IN_CHILD {
        let fd = slot.swap(-1, Ordering::SeqCst);
        if fd >= 0 {
            // SAFETY: the number was open in the parent when it forked, for the library alone, and
            // no code of the child has run yet that could use it.
            let _ = unsafe { libc::close(fd) };
        }
    }
}

type OnExit = Box<dyn Fn(i32) + Send + Sync>;

static ON_EXIT: OnceLock<(Pid, OnExit)> = OnceLock::new();

/// Calls `f` with the exit code when any code of this process calls exit(3), as
/// `std::process::exit` does. Forked children are left out. Only the first call counts.
pub(crate) fn on_exit(f: OnExit) -> io::Result<()> {
    if ON_EXIT.set((Pid::current(), f)).is_err() {
        return Ok(());
    }
    register()
}

#[cfg(target_env = "gnu")]
fn register() -> io::Result<()> {
    use std::ffi::{c_int, c_void};

    unsafe extern "C" {
        // on_exit(3): SunOS 4 and glibc; atexit(3) would not tell the exit code.
        safe fn on_exit(f: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }
    extern "C" fn call(code: c_int, _argument: *mut c_void) {
        at_exit(code);
    }
    match on_exit(call, std::ptr::null_mut()) {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// Other C libraries tell no exit code at exit: there, exit(3) skips the shutdown hook.
#[cfg(not(target_env = "gnu"))]
fn register() -> io::Result<()> {
    Ok(())
}

#[cfg(target_env = "gnu")]
fn at_exit(code: i32) {
    if let Some((owner, f)) = ON_EXIT.get()
        && *owner == Pid::current()
        && !is_copy()
    {
        f(code);
    }
}
