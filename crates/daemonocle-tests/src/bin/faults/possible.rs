//! Which errors a call may have with these arguments.

use std::ffi::c_int;
use std::fs;
use std::os::unix::fs::FileExt;

use crate::sys::Tid;
use crate::tracer::Fault;

/// Whether this can come of the call, which its number alone does not tell.
pub(crate) fn is_possible(tid: Tid, registers: &libc::user_regs_struct, fault: Fault) -> bool {
    let Fault::Error(error) = fault else { return true };
    match registers.orig_rax.cast_signed() {
        libc::SYS_fcntl => is_possible_of_fcntl(tid, registers, error),
        libc::SYS_fstat | libc::SYS_read | libc::SYS_write => {
            is_possible_of_file(tid, registers.rdi, error)
        }
        // Of the standard library, which learns like this whether exec(2) has failed. If that fails itself, it
        // waits for the program's end.
        libc::SYS_recvfrom if registers.rdx == 8 => error == libc::EINTR,
        _ => true,
    }
}

/// Pipes, sockets and the like have no disk, and a pipe that does not block is not interrupted.
fn is_possible_of_file(tid: Tid, fd: u64, error: i32) -> bool {
    let target = fs::read_link(format!("/proc/{tid}/fd/{fd}")).unwrap_or_default();
    let target = target.to_string_lossy();
    if !["pipe:", "socket:", "anon_inode:"].iter().any(|kind| target.starts_with(kind)) {
        return true;
    }
    let info = fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    error == libc::EINTR && flags & libc::O_NONBLOCK == 0
}

/// Only a duplicate takes a number, and only who takes a lock is in anybody's way.
fn is_possible_of_fcntl(tid: Tid, registers: &libc::user_regs_struct, error: i32) -> bool {
    let takes = || kind_of_lock(tid, registers.rdx).is_none_or(|kind| kind != libc::F_UNLCK);
    match registers.rsi as c_int {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => error == libc::EMFILE,
        libc::F_SETLK | libc::F_OFD_SETLK => match error {
            libc::EACCES | libc::EAGAIN => takes(),
            error => [libc::EINTR, libc::ENOLCK].contains(&error),
        },
        libc::F_SETLKW | libc::F_OFD_SETLKW => [libc::EINTR, libc::ENOLCK].contains(&error),
        _ => false,
    }
}

/// The first member of a `struct flock` in the memory of this thread.
fn kind_of_lock(tid: Tid, address: u64) -> Option<c_int> {
    let memory = fs::File::open(format!("/proc/{tid}/mem")).ok()?;
    let mut kind = [0; 2];
    memory.read_exact_at(&mut kind, address).ok()?;
    Some(i16::from_ne_bytes(kind).into())
}
