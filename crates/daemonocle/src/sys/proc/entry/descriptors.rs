//! The descriptors of a process; only its owner and root may ask.

use std::fs;
use std::io;
use std::path::Path;

use super::{Entry, MARK};
use crate::sys::proc::files::if_open;
use crate::sys::proc::{numbers, sorted_numbers};

/// A regular file that is open, and still has the name it was opened by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegularFile {
    pub(crate) path: String,
    pub(crate) fd: i32,
    pub(crate) position: u64,
    /// The `O_…` of open(2).
    pub(crate) flags: u32,
}

impl RegularFile {
    /// How it was opened, in the words of fopen(3).
    pub(crate) fn mode(&self) -> &'static str {
        let appends = self.flags & libc::O_APPEND.cast_unsigned() != 0;
        match ((self.flags & libc::O_ACCMODE.cast_unsigned()).cast_signed(), appends) {
            (libc::O_WRONLY, false) => "w",
            (libc::O_WRONLY, true) => "a",
            (libc::O_RDWR, false) => "r+",
            (libc::O_RDWR, true) => "a+",
            _ => "r",
        }
    }
}

impl Entry {
    /// The open descriptors, in ascending order.
    pub(super) fn descriptors(&self) -> io::Result<Vec<i32>> {
        sorted_numbers(&self.path("fd"))
    }

    /// How many descriptors are open.
    pub(crate) fn count_descriptors(&self) -> io::Result<usize> {
        Ok(numbers(&self.path("fd"))?.len())
    }

    /// The sockets among the descriptors, and their inode numbers.
    pub(super) fn sockets(&self) -> io::Result<Vec<(i32, u64)>> {
        let mut sockets = Vec::new();
        for fd in self.descriptors()? {
            let target = if_open(fs::read_link(self.path(&format!("fd/{fd}"))))?;
            let inode = target.and_then(|target| parse_socket(target.to_str()?));
            sockets.extend(inode.map(|inode| (fd, inode)));
        }
        Ok(sockets)
    }

    /// The regular files among the descriptors.
    pub(crate) fn regular_files(&self) -> io::Result<Vec<RegularFile>> {
        let mut files = Vec::new();
        for fd in self.descriptors()? {
            // Asked of the descriptor and not of the path, which the daemon may see and we not. It
            // may be closed while the list is read.
            let link = self.path(&format!("fd/{fd}"));
            if !if_open(fs::metadata(&link))?.is_some_and(|meta| meta.is_file()) {
                continue;
            }
            let target = if_open(fs::read_link(&link))?;
            let info = if_open(self.read(&format!("fdinfo/{fd}")))?;
            let (Some(target), Some(info)) = (target, info) else {
                continue;
            };
            let path = target.to_string_lossy().into_owned();
            // It may still have other names.
            let is_deleted = path.ends_with(MARK) && !Path::new(&target).exists();
            if let Some((position, flags)) = parse_info(&info)
                && !is_deleted
            {
                files.push(RegularFile { path, fd, position, flags });
            }
        }
        Ok(files)
    }
}

/// The inode number in `socket:[1234]`.
fn parse_socket(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Position and flags of /proc/PID/fdinfo/FD; the flags are octal.
fn parse_info(text: &str) -> Option<(u64, u32)> {
    let value = |key| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    Some((value("pos:")?.parse().ok()?, u32::from_str_radix(value("flags:")?, 8).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_octal() {
        assert_eq!(parse_info("pos:\t12\nflags:\t02100001\nmnt_id:\t9\n"), Some((12, 0o2_100_001)));
        for bad in ["", "pos:\t12\n", "pos:\tx\nflags:\t0\n", "pos:\t1\nflags:\t9\n"] {
            assert_eq!(parse_info(bad), None, "{bad}");
        }
    }

    #[test]
    fn sockets_are_told_from_other_things() {
        assert_eq!(parse_socket("socket:[12]"), Some(12));
        for other in ["pipe:[12]", "socket:[]", "socket:[12", "/socket:[12]", ""] {
            assert_eq!(parse_socket(other), None, "{other}");
        }
    }

    #[test]
    fn modes_are_those_of_fopen() {
        let mode = |flags: i32| {
            let flags = flags.cast_unsigned();
            RegularFile { path: String::new(), fd: 3, position: 0, flags }.mode()
        };
        assert_eq!(mode(libc::O_RDONLY), "r");
        assert_eq!(mode(libc::O_RDONLY | libc::O_APPEND), "r");
        assert_eq!(mode(libc::O_WRONLY | libc::O_CLOEXEC), "w");
        assert_eq!(mode(libc::O_WRONLY | libc::O_APPEND), "a");
        assert_eq!(mode(libc::O_RDWR), "r+");
        assert_eq!(mode(libc::O_RDWR | libc::O_APPEND), "a+");
    }

    #[test]
    fn fuzz_descriptors() {
        crate::fuzz::hold_text("fdinfo", |text| {
            let _ = parse_info(text);
        });
        crate::fuzz::hold_text("sockets", |text| {
            let _ = parse_socket(text);
        });
    }
}
