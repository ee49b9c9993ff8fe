//! How each system call may fail, by its manual page.

#![allow(non_upper_case_globals, reason = "the names are those of libc")]

use libc::*;

/// Those of open(2).
const OPENING: [i32; 12] =
    [EACCES, EDQUOT, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EPERM, EROFS];

/// The name of a call, and its errors. What cannot fail, or only for wrong arguments, has none.
pub(crate) fn of(number: i64) -> (&'static str, &'static [i32]) {
    match number {
        SYS_accept4 => ("accept4", &[ECONNABORTED, EINTR, EMFILE, ENFILE, ENOMEM]),
        SYS_bind => ("bind", &[EACCES, EADDRINUSE, ENOMEM]),
        SYS_chdir => ("chdir", &[EACCES, EIO, ENOENT, ENOMEM]),
        SYS_chroot => ("chroot", &[EACCES, EIO, ELOOP, ENOENT, ENOMEM, EPERM]),
        SYS_clone => ("clone", &[EAGAIN, ENOMEM]),
        SYS_clone3 => ("clone3", &[EAGAIN, ENOMEM]),
        SYS_close => ("close", &[EDQUOT, EINTR, EIO, ENOSPC]),
        SYS_close_range => ("close_range", &[EMFILE, ENOMEM, ENOSYS]),
        SYS_connect => ("connect", &[EACCES, EAGAIN, ECONNREFUSED, EINTR]),
        SYS_dup2 => ("dup2", &[EBUSY, EINTR, EMFILE]),
        SYS_dup3 => ("dup3", &[EBUSY, EINTR, EMFILE]),
        SYS_epoll_create1 => ("epoll_create1", &[EMFILE, ENFILE, ENOMEM]),
        SYS_epoll_ctl => ("epoll_ctl", &[ENOMEM, ENOSPC]),
        SYS_epoll_pwait => ("epoll_pwait", &[EINTR]),
        SYS_epoll_wait => ("epoll_wait", &[EINTR]),
        SYS_eventfd2 => ("eventfd2", &[EMFILE, ENFILE, ENOMEM]),
        SYS_execve => {
            ("execve", &[E2BIG, EACCES, EIO, EMFILE, ENFILE, ENOENT, ENOMEM, EPERM, ETXTBSY])
        }
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
        SYS_ioctl => ("ioctl", &[EIO, ENOTTY]),
        SYS_kill => ("kill", &[EPERM, ESRCH]),
        SYS_listen => ("listen", &[EADDRINUSE]),
        SYS_mkdirat => ("mkdirat", &[EACCES, EDQUOT, ENOSPC, EROFS]),
        SYS_mmap => ("mmap", &[EAGAIN, ENOMEM]),
        SYS_mprotect => ("mprotect", &[ENOMEM]),
        SYS_munmap => ("munmap", &[ENOMEM]),
        SYS_newfstatat => ("newfstatat", &[EACCES, ELOOP, ENOENT, ENOMEM]),
        SYS_openat => ("openat", &OPENING),
        SYS_open => ("open", &OPENING),
        SYS_pidfd_open => ("pidfd_open", &[EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM, ESRCH]),
        SYS_pidfd_send_signal => ("pidfd_send_signal", &[ENOSYS, EPERM, ESRCH]),
        SYS_pipe2 => ("pipe2", &[EMFILE, ENFILE]),
        SYS_poll => ("poll", &[EINTR, ENOMEM]),
        SYS_ppoll => ("ppoll", &[EINTR, ENOMEM]),
        SYS_prctl => ("prctl", &[EPERM]),
        SYS_pread64 => ("pread64", &[EINTR, EIO]),
        SYS_prlimit64 => ("prlimit64", &[EPERM]),
        SYS_pwrite64 => ("pwrite64", &[EDQUOT, EINTR, EIO, ENOSPC]),
        SYS_read => ("read", &[EINTR, EIO]),
        SYS_readlink => ("readlink", &[EACCES, EIO, ENOENT, ENOMEM]),
        SYS_readlinkat => ("readlinkat", &[EACCES, EIO, ENOENT, ENOMEM]),
        SYS_recvfrom => ("recvfrom", &[ECONNRESET, EINTR, ENOMEM]),
        // That the other side is dead (EPIPE) is tried by killing it.
        SYS_sendto => ("sendto", &[EAGAIN, ECONNRESET, EINTR, ENOBUFS, ENOMEM]),
        SYS_setfsgid => ("setfsgid", &[]),
        SYS_setfsuid => ("setfsuid", &[]),
        SYS_setgid => ("setgid", &[EPERM]),
        SYS_setgroups => ("setgroups", &[ENOMEM, EPERM]),
        SYS_setpgid => ("setpgid", &[EACCES, EPERM]),
        SYS_setresgid => ("setresgid", &[EPERM]),
        SYS_setresuid => ("setresuid", &[EAGAIN, EPERM]),
        SYS_setsid => ("setsid", &[EPERM]),
        SYS_setuid => ("setuid", &[EAGAIN, EPERM]),
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
        SYS_write => ("write", &[EDQUOT, EINTR, EIO, ENOSPC]),
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
        (E2BIG, "E2BIG"),
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
        (ENOTTY, "ENOTTY"),
        (EPERM, "EPERM"),
        (EROFS, "EROFS"),
        (ESRCH, "ESRCH"),
        (ETXTBSY, "ETXTBSY"),
    ];
    names
        .into_iter()
        .find(|(number, _)| *number == error)
        .map_or_else(|| error.to_string(), |(_, name)| name.to_owned())
}
