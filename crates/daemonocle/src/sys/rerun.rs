//! Running a program once more, with descriptors under numbers that are known beforehand.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::fd::pipe;
use super::hooks::{also_close_in_forked_children, forget_in_forked_children, keeping_descriptors};
use super::process::{self, Children, Pid, exit_now, new_group};
use super::program::Group;
use super::{check, retry, signal};

/// The first descriptor behind the standard streams, from which on others are passed.
pub(crate) const FIRST: RawFd = 3;

/// A program to be run once more.
pub(crate) struct Rerun<'a> {
    pub(crate) program: &'a Path,
    /// Its name, and its arguments.
    pub(crate) words: &'a [OsString],
    pub(crate) dir: &'a Path,
    /// What its environment has beside ours, or in the place of ours.
    pub(crate) variables: Vec<(&'a str, OsString)>,
    /// The variable that is to have its PID.
    pub(crate) pid_variable: Option<&'a str>,
    pub(crate) group: Group,
    /// What it gets of our descriptors, also of those that no forked child is to have: from number
    /// [`FIRST`] on, in this order.
    pub(crate) pass: Vec<RawFd>,
}

/// [`rerun`]. Handed on by whoever wants it, so that who does not need not carry what it takes.
pub(crate) type Rerunner = fn(Rerun<'_>) -> io::Result<Pid>;

/// Runs a program once more, as a child.
///
/// Not by the standard library, which has descriptors of its own in the child, under whatever numbers
/// are free.
pub(crate) fn rerun(what: Rerun<'_>) -> io::Result<Pid> {
    let mut image = Image::new(what)?;
    let (told, tell) = pipe()?;
    // Or a child that the worker forks meanwhile would keep it open, and we would wait for that one.
    also_close_in_forked_children(tell.as_fd());
    let number = tell.as_fd().as_raw_fd();
    let made = fork_into(&mut image, &tell);
    forget_in_forked_children(number);
    drop(tell);
    let child = made?;
    match hear(told.as_fd()) {
        None => Ok(child),
        Some(error) => {
            // It fails if the worker has buried it, by waiting for any child.
            let _ = process::wait(Children::One(child));
            Err(error)
        }
    }
}

/// Makes the child, which becomes the program or says why not.
fn fork_into(image: &mut Image, tell: &OwnedFd) -> io::Result<Pid> {
    // SAFETY: until it is another program, the child makes only system calls (see `Image::enter`), which
    // are all that is allowed in the child of a process with threads (signal-safety(7)).
    match Pid::new(check(keeping_descriptors(|| unsafe { libc::fork() }))?) {
        Some(child) => Ok(child),
        None => image.enter(tell.as_fd()),
    }
}

/// Says why there is no new program, and ends.
fn say(tell: BorrowedFd<'_>, error: &io::Error) -> ! {
    let code = error.raw_os_error().unwrap_or(libc::EINVAL);
    let _ = retry(|| Ok(rustix::io::write(tell, &code.to_ne_bytes())?));
    exit_now(127)
}

/// Why there is no new program; `None`: there is one, by whose beginning the pipe was closed.
fn hear(told: BorrowedFd<'_>) -> Option<io::Error> {
    let mut code = [0; 4];
    // Written in one piece, being shorter than `PIPE_BUF` (pipe(7)), and so read in one.
    match retry(|| Ok(rustix::io::read(told, &mut code)?)) {
        Ok(0) => None,
        Ok(4) => Some(io::Error::from_raw_os_error(i32::from_ne_bytes(code))),
        Ok(_) => Some(io::ErrorKind::InvalidData.into()),
        Err(error) => Some(error),
    }
}

/// All that the child needs, made before the fork: it must not allocate.
struct Image {
    program: CString,
    dir: CString,
    words: Vec<CString>,
    environment: Vec<CString>,
    /// The variable for the PID, and where in it the digits go.
    pid: Option<(Vec<u8>, usize)>,
    group: Group,
    pass: Vec<RawFd>,
    /// Room for what those are meanwhile, and for the addresses of all strings.
    moved: Vec<RawFd>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

impl Image {
    fn new(what: Rerun<'_>) -> io::Result<Self> {
        let Rerun { program, words, dir, variables, pid_variable, group, pass } = what;
        let is_replaced = |name: &OsStr| {
            variables.iter().map(|(other, _)| *other).chain(pid_variable).any(|other| name == other)
        };
        let inherited = std::env::vars_os().filter(|(name, _)| !is_replaced(name));
        let ours = variables.iter().map(|(name, value)| (OsString::from(name), value.clone()));
        let environment: Vec<_> = inherited
            .chain(ours)
            .map(|(name, value)| string([name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<io::Result<_>>()?;
        let words: Vec<_> = match words {
            [] => vec![string(program.as_os_str().as_bytes())?],
            words => words.iter().map(|word| string(word.as_bytes())).collect::<io::Result<_>>()?,
        };
        let pid = pid_variable.map(|name| {
            let text = [name.as_bytes(), b"=", &[0; MOST_DIGITS + 1]].concat();
            (text, name.len() + 1)
        });
        Ok(Self {
            program: string(program.as_os_str().as_bytes())?,
            dir: string(dir.as_os_str().as_bytes())?,
            pid,
            group,
            moved: Vec::with_capacity(pass.len()),
            argv: Vec::with_capacity(words.len() + 1),
            envp: Vec::with_capacity(environment.len() + 2),
            pass,
            words,
            environment,
        })
    }

    /// In the child: becomes the program, or says why not.
    fn enter(&mut self, tell: BorrowedFd<'_>) -> ! {
        // Out of the way of what is passed. Where that fails, the old number is good enough to say so.
        let above = FIRST + RawFd::try_from(self.pass.len()).unwrap_or(RawFd::MAX);
        let tell = match rustix::io::fcntl_dupfd_cloexec(tell, above) {
            Ok(moved) => moved,
            Err(error) => say(tell, &error.into()),
        };
        if let Err(error) = self.prepare(above) {
            say(tell.as_fd(), &error);
        }
        // In the room that was made for them.
        self.argv.extend(self.words.iter().map(|word| word.as_ptr()));
        self.argv.push(ptr::null());
        self.envp.extend(self.environment.iter().map(|text| text.as_ptr()));
        self.envp.extend(self.pid.iter().map(|(text, _)| text.as_ptr().cast::<c_char>()));
        self.envp.push(ptr::null());
        let (argv, envp) = (self.argv.as_ptr(), self.envp.as_ptr());
        // SAFETY: path and strings end in NUL and belong to `self`, both lists end in a null pointer.
        unsafe { libc::execve(self.program.as_ptr(), argv, envp) };
        say(tell.as_fd(), &io::Error::last_os_error())
    }

    fn prepare(&mut self, above: RawFd) -> io::Result<()> {
        if self.group == Group::Own {
            new_group()?;
        }
        rustix::process::chdir(self.dir.as_c_str())?;
        signal::reset()?;
        // First all out of the way of each other, where they close on exec, then to their places.
        for number in &self.pass {
            // SAFETY: takes numbers; this one is open in this copy of our process.
            let moved = unsafe { libc::fcntl(*number, libc::F_DUPFD_CLOEXEC, above) };
            self.moved.push(check(moved)?);
        }
        for (moved, number) in self.moved.iter().zip(FIRST..) {
            // SAFETY: takes numbers. What this one meant before, nobody in this process uses any more.
            retry(|| check(unsafe { libc::dup2(*moved, number) }))?;
        }
        if let Some((text, start)) = &mut self.pid {
            write_digits(&mut text[*start..], Pid::current());
        }
        Ok(())
    }
}

/// Of any 32-bit number.
const MOST_DIGITS: usize = 10;

/// Writes a PID to the beginning of `place`, by hand: formatting may allocate.
fn write_digits(place: &mut [u8], pid: Pid) {
    let mut digits = [0; MOST_DIGITS];
    let mut rest = pid.get().unsigned_abs();
    let mut first = MOST_DIGITS;
    while rest > 0 && first > 0 {
        first -= 1;
        // A digit.
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for (to, from) in place.iter_mut().zip(&digits[first..]) {
        *to = *from;
    }
}

fn string(bytes: impl Into<Vec<u8>>) -> io::Result<CString> {
    Ok(CString::new(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_are_written_from_the_left() -> Result<(), &'static str> {
        for (pid, text) in [(1, "1\0\0\0"), (407, "407\0"), (2_000_000_000, "2000000000\0")] {
            let mut place = vec![0; text.len()];
            write_digits(&mut place, Pid::new(pid).ok_or("no PID")?);
            assert_eq!(place, text.as_bytes());
        }
        Ok(())
    }
}
