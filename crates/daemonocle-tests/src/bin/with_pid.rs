//! Runs a command under a PID that is free: `with_pid PID COMMAND...`. It waits for the command, and
//! ends with 77 if that PID cannot be had. Needs root.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let pid: libc::pid_t = words[0].parse().unwrap();
    // SAFETY: all zero is a valid value of this plain struct, and asks for nothing.
    let mut wanted: libc::clone_args = unsafe { std::mem::zeroed() };
    wanted.exit_signal = libc::SIGCHLD as u64;
    wanted.set_tid = &raw const pid as u64;
    wanted.set_tid_size = 1;
    let size = size_of_val(&wanted);
    // SAFETY: the call is a fork(2), of a process with one thread; both structs outlive it.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &raw const wanted, size) };
    if child == 0 {
        panic!("{}", Command::new(&words[1]).args(&words[2..]).exec());
    }
    if child < 0 {
        eprintln!("{}", std::io::Error::last_os_error());
        return ExitCode::from(77);
    }
    // SAFETY: a status that nobody wants may be null.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    ExitCode::FAILURE
}
