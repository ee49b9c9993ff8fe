//! The files that processes have open, and the locks they hold on them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Instant;

use super::{descriptors, read, require_own};
use crate::sys::fd::has_passed;
use crate::sys::fs::Inode;
use crate::sys::is_shortage;
use crate::sys::lock::Byte;
use crate::sys::process::Pid;

/// Kinds of byte-range locks, as /proc names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    /// Of a process, for writing.
    Record,
    /// Of an open file description, for writing.
    Shared,
    /// Of a process, for reading.
    Mark,
}

/// A file that a process has open.
pub(crate) struct OpenFile {
    /// The path that it has, or had, as far as that can be seen from here.
    pub(crate) path: PathBuf,
    pub(crate) inode: Inode,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its type and permissions.
    pub(crate) mode: u32,
    pub(crate) is_regular: bool,
    pub(crate) is_dir: bool,
    pub(crate) is_deleted: bool,
    pub(crate) is_empty: bool,
    /// What the kernel tells of the descriptor.
    info: String,
}

impl OpenFile {
    /// Whether the process itself holds a lock of this kind on this byte: the kernel shows a
    /// lock only at a holder's descriptors (/proc/PID/fdinfo, proc(5)).
    pub(crate) fn is_locked(&self, kind: LockKind, byte: Byte) -> bool {
        shows_lock(&self.info, kind, byte)
    }

    /// The first byte of a record lock for writing that begins within `bytes`.
    pub(crate) fn locked_among(&self, bytes: &RangeInclusive<Byte>) -> Option<Byte> {
        first_among(&self.info, bytes)
    }
}

/// The files that a process has open, or this one only; only its owner and root may ask.
/// Not being able to tell by the deadline is an error as well.
pub(crate) fn open_files(
    pid: Pid,
    only: Option<Inode>,
    deadline: Option<Instant>,
) -> io::Result<Vec<OpenFile>> {
    require_own()?;
    let mut files = Vec::new();
    let (thread, descriptors) = descriptors(pid)?;
    for fd in descriptors {
        if has_passed(deadline) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        files.extend(open_file(thread, fd, only)?);
    }
    Ok(files)
}

/// The paths of deleted files among the first descriptors of a process; none where it may not be looked at.
pub(crate) fn deleted_paths(pid: Pid, first: usize) -> Vec<PathBuf> {
    let Ok((thread, descriptors)) = descriptors(pid) else { return Vec::new() };
    let links = descriptors.into_iter().take(first);
    let paths = links.filter_map(|fd| {
        let path = fs::read_link(format!("/proc/{thread}/fd/{fd}")).ok()?;
        Some(OsStr::from_bytes(path.as_os_str().as_bytes().strip_suffix(MARK)?).into())
    });
    paths.collect()
}

/// What the kernel puts behind the path of one that has none any more.
const MARK: &[u8] = b" (deleted)";

/// `None`: it is another one than `only`, or not open any more.
fn open_file(thread: Pid, fd: i32, only: Option<Inode>) -> io::Result<Option<OpenFile>> {
    let link = format!("/proc/{thread}/fd/{fd}");
    // Asked first: where this may be seen and the file itself not, somebody has made a file that even root may
    // not look at (fuse(4)), and it is none of ours.
    let Some(target) = if_open(fs::read_link(&link))? else {
        return Ok(None);
    };
    let meta = match fs::metadata(&link) {
        Err(error) if is_shortage(&error) => return Err(error),
        Err(_) => return Ok(None),
        Ok(meta) => meta,
    };
    let inode = Inode::from(&meta);
    if only.is_some_and(|only| only != inode) {
        return Ok(None);
    }
    let Some(info) = if_open(read(&format!("/proc/{thread}/fdinfo/{fd}")))? else {
        return Ok(None);
    };
    let path = target.as_os_str().as_bytes();
    Ok(Some(OpenFile {
        path: OsStr::from_bytes(path.strip_suffix(MARK).unwrap_or(path)).into(),
        inode,
        uid: meta.uid(),
        mode: meta.mode(),
        is_regular: meta.is_file(),
        is_dir: meta.is_dir(),
        is_deleted: meta.nlink() == 0,
        is_empty: meta.len() == 0,
        info,
    }))
}

/// `None`: the descriptor was closed while the list was read. That it may not be looked at, although
/// its number may be (it takes more rights, ptrace(2)), is an error, and so is that something is short.
pub(super) fn if_open<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_denied(&error) || is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether `pid` itself holds such a lock on this very file. An error where it may not be asked.
pub(crate) fn holds_lock(pid: Pid, inode: Inode, kind: LockKind, byte: Byte) -> io::Result<bool> {
    /// A daemon opened its PID file before its worker opened anything. A worker that is somebody else's by now
    /// may have it open very often since, with very many locks.
    const MOST: usize = 16;
    require_own()?;
    let mut looked_at = 0;
    let (thread, descriptors) = descriptors(pid)?;
    for fd in descriptors {
        let Some(file) = open_file(thread, fd, Some(inode))? else { continue };
        if file.is_locked(kind, byte) {
            return Ok(true);
        }
        looked_at += 1;
        if looked_at == MOST {
            break;
        }
    }
    Ok(false)
}

fn shows_lock(fdinfo: &str, kind: LockKind, byte: Byte) -> bool {
    locks(fdinfo, kind).any(|(start, end)| covers(start, end, byte))
}

fn first_among(fdinfo: &str, bytes: &RangeInclusive<Byte>) -> Option<Byte> {
    locks(fdinfo, LockKind::Record)
        .filter_map(|(start, _)| start.parse().ok().map(Byte))
        .find(|start| bytes.contains(start))
}

/// The locks of this kind: first and last byte.
fn locks(fdinfo: &str, kind: LockKind) -> impl Iterator<Item = (&str, &str)> {
    let wanted = match kind {
        LockKind::Record => ["POSIX", "WRITE"],
        LockKind::Shared => ["OFDLCK", "WRITE"],
        LockKind::Mark => ["POSIX", "READ"],
    };
    fdinfo.lines().filter_map(|line| line.strip_prefix("lock:")).filter_map(move |line| {
        // "lock:	1: OFDLCK ADVISORY  WRITE -1 fe:00:1234 1073741824 1073741825"
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            [_, name, _, access, _, _, start, end] if [name, access] == wanted => {
                Some((start, end))
            }
            _ => None,
        }
    })
}

/// Neighbouring locks of one holder are shown as one.
fn covers(start: &str, end: &str, Byte(byte): Byte) -> bool {
    let is_after = |start: i64| start <= byte;
    let is_before = |end: i64| byte <= end;
    start.parse().is_ok_and(is_after) && (end == "EOF" || end.parse().is_ok_and(is_before))
}

#[cfg(test)]
mod tests {
    use super::super::model;
    use super::*;

    /// A lock: its kind, and its first and last byte, each if it is one.
    type Shown = (LockKind, Option<i64>, Option<i64>);

    fn model_of(fdinfo: &str) -> Vec<Shown> {
        let mut shown = Vec::new();
        for line in model::lines(fdinfo) {
            let words = model::words(line.get(5..).unwrap_or_default());
            if line.len() < 5 || line[..5] != *b"lock:" || words.len() != 8 {
                continue;
            }
            let kind = match [words[1], words[3]] {
                [b"OFDLCK", b"WRITE"] => LockKind::Shared,
                [b"POSIX", b"WRITE"] => LockKind::Record,
                [b"POSIX", b"READ"] => LockKind::Mark,
                _ => continue,
            };
            let end = if words[7] == b"EOF" { Some(i64::MAX) } else { model::number_i64(words[7]) };
            shown.push((kind, model::number_i64(words[6]), end));
        }
        shown
    }

    #[test]
    fn the_lock_line_is_told_from_its_neighbours() {
        let line = "pos:\t0\nlock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 10 11\n";
        let shared = |line: &str, byte| shows_lock(line, LockKind::Shared, Byte(byte));
        assert!(shared(line, 10));
        assert!(shared(line, 11));
        assert!(!shared(line, 9));
        assert!(!shared(line, 12));
        assert!(!shows_lock(line, LockKind::Record, Byte(10)));
        assert!(!shared(&line.replace("WRITE", "READ"), 10));
        let own = line.replace("WRITE", "READ").replace("OFDLCK", "POSIX");
        assert!(shows_lock(&own, LockKind::Mark, Byte(10)));
        assert!(!shows_lock(line, LockKind::Mark, Byte(10)));
        assert!(!shared(&line.replace("OFDLCK", "FLOCK"), 10));
        assert!(!shared(&line.replace("11\n", "\n"), 10));
        let line = line.replace("OFDLCK", "POSIX").replace("11\n", "EOF\n");
        assert!(shows_lock(&line, LockKind::Record, Byte(99)));
    }

    #[test]
    fn fuzz_lock_lines() {
        const ALWAYS: [i64; 6] = [0, 10, 1 << 30, (1 << 30) + 1, 1 << 32, i64::MAX];
        crate::fuzz::hold_text("lock_lines", |text| {
            let shown = model_of(text);
            let ends = shown.iter().flat_map(|(_, start, end)| [*start, *end]).flatten();
            let around = ends.flat_map(|it| [it.saturating_sub(1), it, it.saturating_add(1)]);
            let bytes: Vec<i64> = around.chain(ALWAYS).collect();
            for (index, &byte) in bytes.iter().enumerate() {
                for kind in [LockKind::Record, LockKind::Shared, LockKind::Mark] {
                    let is_covered = shown.iter().any(|(its, start, end)| {
                        let within =
                            start.zip(*end).map(|(start, end)| start <= byte && byte <= end);
                        *its == kind && within == Some(true)
                    });
                    assert_eq!(shows_lock(text, kind, Byte(byte)), is_covered, "{kind:?} {byte}");
                }
                let last = bytes[bytes.len() - 1 - index];
                let begins = |(kind, start, _): &Shown| {
                    start.filter(|at| *kind == LockKind::Record && byte <= *at && *at <= last)
                };
                let first = shown.iter().find_map(begins).map(Byte);
                assert_eq!(first_among(text, &(Byte(byte)..=Byte(last))), first, "{byte} {last}");
            }
        });
    }
}
