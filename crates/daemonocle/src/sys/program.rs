//! Running programs.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process as rx;

use super::process::{self, Pid, SingleThreaded};

/// Runs a program as a child that does not outlive this process: the kernel kills it (`PR_SET_PDEATHSIG`,
/// prctl(2)) when the calling thread has ended.
pub(crate) fn spawn_bound(mut command: Command) -> io::Result<Pid> {
    let parent = Pid::current();
    let bind = move || {
        rx::set_parent_process_death_signal(Some(rx::Signal::KILL))?;
        // The parent may have died before that.
        match process::parent() == Some(parent) {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    };
    // SAFETY: between fork and exec it makes two system calls, and allocates nothing.
    let child = unsafe { command.pre_exec(bind) }.spawn()?;
    number_of(&child)
}

/// The process group of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Own,
    Ours,
}

fn number_of(child: &Child) -> io::Result<Pid> {
    let number = i32::try_from(child.id()).ok();
    number.and_then(Pid::new).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Takes a variable out of the environment, and gives its value.
pub(crate) fn take_variable(name: &str, _proof: SingleThreaded) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: no other thread exists that could read the environment meanwhile, as the proof says.
    unsafe { std::env::remove_var(name) };
    Some(value)
}
