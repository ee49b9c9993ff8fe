//! How each system call may fail, by its manual page.

#![allow(non_upper_case_globals, reason = "the names are those of libc")]

use libc::*;

/// The name of a call, and its errors. What cannot fail, or only for wrong arguments, has none.
pub(crate) fn of(number: i64) -> (&'static str, &'static [i32]) {
    match number {
        SYS_accept4 => ("accept4", &[ECONNABORTED, EINTR, EMFILE, ENFILE, ENOMEM]),
        SYS_bind => ("bind", &[EACCES, EADDRINUSE, ENOMEM]),
        SYS_chdir => ("chdir", &[EACCES, EIO, ENOENT, ENOMEM]),
        SYS_clone => ("clone", &[EAGAIN, ENOMEM]),
        SYS_clone3 => ("clone3", &[EAGAIN, ENOMEM]),
        SYS_close => ("close", &[EINTR, EIO, ENOSPC]),
        SYS_connect => ("connect", &[EACCES, EAGAIN, ECONNREFUSED, EINTR]),
        SYS_dup2 => ("dup2", &[EBUSY, EINTR, EMFILE]),
        SYS_dup3 => ("dup3", &[EBUSY, EINTR, EMFILE]),
        SYS_eventfd2 => ("eventfd2", &[EMFILE, ENFILE, ENOMEM]),
        SYS_execve => ("execve", &[EACCES, EIO, EMFILE, ENOENT, ENOMEM, ETXTBSY]),
        SYS_fchdir => ("fchdir", &[EACCES, EIO, ENOMEM]),
        SYS_fchmod => ("fchmod", &[EIO, EPERM, EROFS]),
        SYS_fchown => ("fchown", &[EIO, EPERM, EROFS]),
        SYS_fcntl => ("fcntl", &[EACCES, EAGAIN, EINTR, EMFILE, ENOLCK]),
        SYS_fork => ("fork", &[EAGAIN, ENOMEM]),
        SYS_fstat => ("fstat", &[EACCES, ENOMEM]),
        SYS_ftruncate => ("ftruncate", &[EINTR, EIO, EPERM, EROFS]),
        SYS_futex => ("futex", &[]),
        SYS_getdents64 => ("getdents64", &[EIO, ENOENT]),
        SYS_getsockname => ("getsockname", &[ENOBUFS]),
        SYS_getsockopt => ("getsockopt", &[ENOPROTOOPT]),
        SYS_kill => ("kill", &[EPERM]),
        SYS_listen => ("listen", &[EADDRINUSE]),
        SYS_mkdirat => ("mkdirat", &[EACCES, EDQUOT, ENOSPC, EROFS]),
        SYS_mmap => ("mmap", &[EAGAIN, ENOMEM]),
        SYS_mprotect => ("mprotect", &[ENOMEM]),
        SYS_munmap => ("munmap", &[ENOMEM]),
        SYS_newfstatat => ("newfstatat", &[EACCES, ELOOP, ENOENT, ENOMEM]),
        SYS_openat => {
            ("openat", &[EACCES, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EROFS])
        }
        SYS_open => {
            ("open", &[EACCES, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EROFS])
        }
        SYS_pidfd_open => ("pidfd_open", &[EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM]),
        SYS_pidfd_send_signal => ("pidfd_send_signal", &[ENOSYS, EPERM]),
        SYS_pipe2 => ("pipe2", &[EMFILE, ENFILE]),
        SYS_poll => ("poll", &[EINTR, ENOMEM]),
        SYS_ppoll => ("ppoll", &[EINTR, ENOMEM]),
        SYS_prctl => ("prctl", &[EPERM]),
        SYS_pread64 => ("pread64", &[EINTR, EIO]),
        SYS_prlimit64 => ("prlimit64", &[EPERM]),
        SYS_pwrite64 => ("pwrite64", &[EINTR, EIO, ENOSPC]),
        SYS_read => ("read", &[EINTR, EIO]),
        SYS_readlink => ("readlink", &[EACCES, EIO, ENOENT, ENOMEM]),
        SYS_readlinkat => ("readlinkat", &[EACCES, EIO, ENOENT, ENOMEM]),
        SYS_recvfrom => ("recvfrom", &[ECONNRESET, EINTR, ENOMEM]),
        SYS_sendto => ("sendto", &[EAGAIN, ECONNRESET, EINTR, ENOBUFS, ENOMEM, EPIPE]),
        SYS_setpgid => ("setpgid", &[EACCES, EPERM]),
        SYS_setsid => ("setsid", &[EPERM]),
        SYS_setsockopt => ("setsockopt", &[ENOMEM]),
        SYS_signalfd4 => ("signalfd4", &[EMFILE, ENFILE, ENOMEM]),
        SYS_socket => ("socket", &[EACCES, EMFILE, ENFILE, ENOBUFS]),
        SYS_socketpair => ("socketpair", &[EMFILE, ENFILE, ENOMEM]),
        SYS_statx => ("statx", &[EACCES, ELOOP, ENOENT, ENOMEM]),
        SYS_tgkill => ("tgkill", &[EPERM]),
        SYS_unlinkat => ("unlinkat", &[EACCES, EBUSY, EIO, EPERM, EROFS]),
        SYS_unshare => ("unshare", &[EINVAL, ENOMEM, EPERM]),
        SYS_wait4 => ("wait4", &[EINTR]),
        SYS_waitid => ("waitid", &[EINTR]),
        SYS_write => ("write", &[EINTR, EIO, ENOSPC]),
        SYS_brk => ("brk", &[]),
        SYS_exit_group => ("exit_group", &[]),
        SYS_exit => ("exit", &[]),
        SYS_getpid => ("getpid", &[]),
        SYS_rt_sigaction => ("rt_sigaction", &[]),
        SYS_rt_sigprocmask => ("rt_sigprocmask", &[]),
        _ => ("another", &[]),
    }
}

/// The name of an error.
pub(crate) fn name(error: i32) -> String {
    let names = [
        (EACCES, "EACCES"),
        (EADDRINUSE, "EADDRINUSE"),
        (EAGAIN, "EAGAIN"),
        (EBUSY, "EBUSY"),
        (ECONNABORTED, "ECONNABORTED"),
        (ECONNREFUSED, "ECONNREFUSED"),
        (ECONNRESET, "ECONNRESET"),
        (EDQUOT, "EDQUOT"),
        (EINTR, "EINTR"),
        (EINVAL, "EINVAL"),
        (EIO, "EIO"),
        (ELOOP, "ELOOP"),
        (EMFILE, "EMFILE"),
        (ENFILE, "ENFILE"),
        (ENOBUFS, "ENOBUFS"),
        (ENOENT, "ENOENT"),
        (ENOLCK, "ENOLCK"),
        (ENOMEM, "ENOMEM"),
        (ENOPROTOOPT, "ENOPROTOOPT"),
        (ENOSPC, "ENOSPC"),
        (ENOSYS, "ENOSYS"),
        (EPERM, "EPERM"),
        (EPIPE, "EPIPE"),
        (EROFS, "EROFS"),
        (ETXTBSY, "ETXTBSY"),
    ];
    names
        .into_iter()
        .find(|(number, _)| *number == error)
        .map_or_else(|| error.to_string(), |(_, name)| name.to_owned())
}
