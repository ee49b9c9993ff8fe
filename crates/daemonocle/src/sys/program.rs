//! Running programs.

use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use rustix::process as rx;

use super::check;
use super::hooks::keeping_descriptors;
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

/// A program to be run once more.
pub(crate) struct Rerun<'a> {
    pub(crate) program: &'a Path,
    /// Its name, and its arguments.
    pub(crate) words: &'a [OsString],
    pub(crate) dir: &'a Path,
    pub(crate) variable: (&'a str, OsString),
    pub(crate) group: Group,
    /// What it keeps of our descriptors, also of those that no forked child is to have.
    pub(crate) keep: Vec<RawFd>,
}

/// [`rerun`]. Handed on by whoever wants it, so that who does not need not carry what it takes.
pub(crate) type Rerunner = fn(Rerun<'_>) -> io::Result<Pid>;

/// Runs a program once more, as a child.
pub(crate) fn rerun(what: Rerun<'_>) -> io::Result<Pid> {
    let Rerun { program, words, dir, variable: (name, value), group, keep } = what;
    let mut command = Command::new(program);
    if let [first, arguments @ ..] = words {
        command.arg0(first).args(arguments);
    }
    command.current_dir(dir).env(name, value);
    if group == Group::Own {
        command.process_group(0);
    }
    let open = move || {
        for number in &keep {
            // SAFETY: takes a number, which is open in this copy of our process.
            check(unsafe { libc::fcntl(*number, libc::F_SETFD, 0) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls, and allocates nothing.
    let child = keeping_descriptors(|| unsafe { command.pre_exec(open) }.spawn())?;
    number_of(&child)
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
