//! The system calls of a tracer: ptrace(2), and what it takes to run and to await who is traced.

use std::ffi::{CString, OsString, c_int, c_long, c_void};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

/// A thread, or a process.
pub(crate) type Tid = libc::pid_t;

fn check(result: c_long) -> io::Result<c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(crate) fn trace(request: u32, tid: Tid, data: c_long) -> io::Result<c_long> {
    // SAFETY: none of the requests that are made like this reads or writes memory of this process.
    check(unsafe { libc::ptrace(request, tid, ptr::null_mut::<c_void>(), data as *mut c_void) })
}

pub(crate) fn registers(tid: Tid) -> io::Result<libc::user_regs_struct> {
    let mut registers = MaybeUninit::<libc::user_regs_struct>::uninit();
    let place = registers.as_mut_ptr();
    // SAFETY: the place has room for what the kernel writes.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGS, tid, ptr::null_mut::<c_void>(), place) })?;
    // SAFETY: the call has succeeded, and so has filled it in.
    Ok(unsafe { registers.assume_init() })
}

pub(crate) fn set_registers(tid: Tid, registers: &libc::user_regs_struct) -> io::Result<()> {
    let place = ptr::from_ref(registers);
    // SAFETY: the kernel reads the registers, which are valid for the whole call.
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGS, tid, ptr::null_mut::<c_void>(), place) })
        .map(drop)
}

/// Sends a signal to a process that the caller has not buried yet.
pub(crate) fn kill(pid: Tid, signal: c_int) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Runs a program with this environment, its standard output and error appended to these files; it has
/// stopped before it begins.
pub(crate) fn spawn_stopped(
    words: &[OsString],
    environment: &[(OsString, OsString)],
    [stdout, stderr]: [&Path; 2],
) -> io::Result<Tid> {
    let string = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
    let words: Vec<_> =
        words.iter().map(|word| string(word.as_bytes())).collect::<io::Result<_>>()?;
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| string(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect::<io::Result<_>>()?;
    let pointers = |list: &[CString]| -> Vec<_> {
        list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(&words), pointers(&environment));
    let open = |path: &Path| fs::File::options().create(true).append(true).open(path);
    let null = fs::File::options().read(true).write(true).open("/dev/null")?;
    let streams = [null, open(stdout)?, open(stderr)?];
    // SAFETY: this process has one thread; the child makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        for (number, stream) in streams.iter().enumerate() {
            // SAFETY: takes numbers.
            unsafe { libc::dup2(stream.as_raw_fd(), number as c_int) };
        }
        // SAFETY: an empty set of signals is a valid one.
        let none: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is valid for the whole call.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
        // SAFETY: takes a number: waits here until it is being looked at.
        unsafe { libc::raise(libc::SIGSTOP) };
        // SAFETY: strings end in NUL, lists in a null pointer, and all are valid.
        unsafe { libc::execve(argv[0], argv.as_ptr(), envp.as_ptr()) };
        // SAFETY: takes a number, and does not return.
        unsafe { libc::_exit(127) }
    }
    check(pid.into())?;
    let mut status = 0;
    // SAFETY: the place is valid for the whole call.
    check(unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) }.into())?;
    Ok(pid)
}

/// Waits this long for the next thing that one of them does. SIGCHLD is blocked.
pub(crate) fn next_event(limit: Duration) -> io::Result<Option<(Tid, c_int)>> {
    let until = Instant::now() + limit;
    loop {
        let mut status = 0;
        // SAFETY: the place is valid for the whole call.
        let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::WNOHANG) };
        match tid {
            0 => {}
            -1 => {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::ECHILD) => {}
                    Some(libc::EINTR) => continue,
                    _ => return Err(error),
                }
            }
            tid => return Ok(Some((tid, status))),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        // SAFETY: an empty set of signals is a valid one.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is valid.
        unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
        let time = libc::timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        // SAFETY: set and time are valid for the whole call; what has come is not asked for.
        unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const time) };
    }
}

/// Makes SIGCHLD one that is waited for.
pub(crate) fn block_child_signals() -> io::Result<()> {
    // SAFETY: an empty set of signals is a valid one.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    // SAFETY: the set is valid for the whole call.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) }.into())
        .map(drop)
}

/// Buries those of our children that have ended.
pub(crate) fn bury() {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } > 0 {}
}
