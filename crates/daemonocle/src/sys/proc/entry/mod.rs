//! Everything that /proc tells of one process, each item as psutil has it: names, order and units
//! are those that scripts know.

mod descriptors;
mod maps;
mod numbers;
mod sockets;
mod words;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{read, require_own};
use crate::sys::process::Pid;

pub(crate) use descriptors::RegularFile;
pub(crate) use maps::Mapping;
pub(crate) use sockets::Connection;

/// The entry of one process in a /proc that shows our own PID namespace.
///
/// A number is not a process: whoever wants to know that all answers are of the same one holds a
/// pidfd, and looks at it afterwards.
pub(crate) struct Entry {
    pid: Pid,
}

impl Entry {
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        require_own()?;
        Ok(Self { pid })
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        read(&self.path(name))
    }

    fn parse<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> io::Result<T> {
        parse(&self.read(name)?).ok_or_else(|| senseless(&self.path(name)))
    }

    /// Where a link points to, or pointed to before that was deleted.
    fn link(&self, name: &str) -> io::Result<String> {
        let target = fs::read_link(self.path(name))?;
        Ok(without_mark(&target.to_string_lossy()).to_owned())
    }
}

fn senseless(path: &str) -> io::Error {
    io::Error::other(format!("cannot make sense of {path}"))
}

/// What the kernel appends to the path of a file that has no name any more.
const MARK: &str = " (deleted)";

/// A path without that mark, unless the file is there and its name happens to end so.
fn without_mark(path: &str) -> &str {
    match path.strip_suffix(MARK) {
        Some(rest) if !Path::new(OsStr::from_bytes(path.as_bytes())).exists() => rest,
        _ => path,
    }
}
