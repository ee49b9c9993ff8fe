//! Who holds locks on files that cannot be opened any more.
//!
//! Anybody can hold as many locks as he likes. The list of all of them comes in pieces of a page,
//! whatever the size of the buffer, and for each the kernel counts from the beginning: twice as many
//! locks take four times as long. So a long list is given up in time, and the processes are asked,
//! of which only those are looked at that matter.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::files::if_open;
use super::{descriptors, is_gone, may_be_examined, numbers, read, require_own};
use crate::sys::fd::{deadline_in, has_passed};
use crate::sys::fs::Inode;
use crate::sys::lock::Byte;
use crate::sys::process::Pid;
use crate::sys::{is_shortage, retry};

/// A lock that a process holds on some file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HeldLock {
    pub(crate) pid: Pid,
    /// The file. Some file systems (btrfs) show another device here than in stat(2).
    pub(crate) inode: Inode,
    pub(crate) byte: Byte,
}

/// What a search for locks has come to.
pub(crate) struct Search {
    pub(crate) found: Vec<HeldLock>,
    /// Whether there can be no others.
    pub(crate) is_complete: bool,
    /// Whether it came to its end in time, at least once.
    pub(crate) is_over: bool,
}

/// How often a list is read: so many times, but not again after so long, or if it has come in less pieces.
#[derive(Clone, Copy)]
pub(crate) struct Often {
    pub(crate) times: usize,
    pub(crate) within: Duration,
    pub(crate) unless: usize,
}

/// The record locks for writing that begin at one of the bytes sought, on any file, of processes that are
/// `wanted`, by the kernel's list of all locks (/proc/locks, proc(5)); `None` where there is no such list.
///
/// A list that comes in more than one piece may change between two, and then lack what was there all the time.
/// So it is read `often`. It is never complete: who takes locks and drops them again can bring that about each
/// time, and a list that has become short while it was read looks like one piece.
pub(crate) fn listed_locks(
    is_sought: &dyn Fn(Byte) -> bool,
    often: Often,
    wanted: &mut dyn FnMut(Pid) -> bool,
    deadline: Option<Instant>,
) -> io::Result<Option<Search>> {
    let mut search = Search { found: Vec::new(), is_complete: false, is_over: false };
    if require_own().is_err() {
        // Whoever is in it cannot be asked, nor named.
        return Ok(Some(Search { is_complete: true, is_over: true, ..search }));
    }
    let enough = deadline_in(often.within);
    for _ in 0..often.times {
        let mut list = match File::open("/proc/locks") {
            Ok(list) => list,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let pieces = read_lines(&mut list, deadline, &mut |line| {
            // The cheap questions first, for nearly all locks have nothing to do with this.
            if start_of(line).is_some_and(is_sought)
                && let Some(lock) = std::str::from_utf8(line).ok().and_then(parse_lock)
                && wanted(lock.pid)
                && let Err(place) = search.found.binary_search(&lock)
            {
                search.found.insert(place, lock);
            }
        })?;
        search.is_over |= pieces.is_some();
        if pieces.is_none_or(|pieces| pieces < often.unless) || has_passed(enough) {
            break;
        }
    }
    Ok(Some(search))
}

/// The same, by the open files of all the processes that are `wanted`. Their number does not grow with
/// that of the locks, but only their owner and root may look.
pub(crate) fn locks_by_process(
    is_sought: &dyn Fn(Byte) -> bool,
    wanted: &mut dyn FnMut(Pid) -> bool,
    deadline: Option<Instant>,
) -> io::Result<Search> {
    let mut search = Search { found: Vec::new(), is_complete: true, is_over: true };
    require_own()?;
    for pid in numbers("/proc")?.into_iter().filter_map(Pid::new) {
        // For an ordinary user they are most; and one makes no other difference than another one.
        let is_one_more = || !search.is_complete && !may_be_examined(pid);
        if !is_one_more() && wanted(pid) {
            match locks_of(pid, is_sought, deadline) {
                Ok(locks) => search.found.extend(locks),
                Err(error) if is_gone(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Ok(Search { is_complete: false, is_over: false, ..search });
                }
                Err(error) if is_shortage(&error) => return Err(error),
                Err(_) => search.is_complete = false,
            }
        }
    }
    Ok(search)
}

/// The permission of a link in /proc/PID/fd that tells that the file is open for writing: it has those of the
/// descriptor, not those of the file.
const WRITE: u32 = 0o200;

/// Such locks of one process; an error if there is not enough time. Asks nothing of the files themselves,
/// which may be on a server that does not answer.
pub(crate) fn locks_of(
    pid: Pid,
    is_sought: &dyn Fn(Byte) -> bool,
    deadline: Option<Instant>,
) -> io::Result<Vec<HeldLock>> {
    let mut locks = Vec::new();
    let (thread, descriptors) = descriptors(pid)?;
    for fd in descriptors {
        // At each of them the kernel tells of all the locks that a process has on the file, however many.
        if has_passed(deadline) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // A lock for writing is on what is open for writing. Of a directory, which is not, the locks of all
        // others would be listed here as well.
        let is_for_writing = |link: Metadata| link.mode() & WRITE != 0;
        let link = if_open(fs::symlink_metadata(format!("/proc/{thread}/fd/{fd}")))?;
        if !link.is_some_and(is_for_writing) {
            continue;
        }
        let Some(info) = if_open(read(&format!("/proc/{thread}/fdinfo/{fd}")))? else {
            continue;
        };
        let lines = info.lines().filter_map(|line| line.strip_prefix("lock:"));
        // Somebody who is gone may have left his locks to those who shared his descriptors.
        let its = |lock: &HeldLock| lock.pid == pid && is_sought(lock.byte);
        locks.extend(lines.filter_map(parse_lock).filter(its));
    }
    Ok(locks)
}

/// Reads line by line: in how many pieces, each of which is consistent in itself. `None`: the deadline
/// passed.
fn read_lines(
    file: &mut impl Read,
    deadline: Option<Instant>,
    tell: &mut dyn FnMut(&[u8]),
) -> io::Result<Option<usize>> {
    // As large as a piece, and not on the heap: the forks to come would copy what it leaves there.
    let mut buffer = [0; 4096];
    // Of a line that goes on in the next piece.
    let mut rest = Vec::new();
    let mut pieces = 0;
    loop {
        let count = retry(|| file.read(&mut buffer))?;
        if count == 0 {
            return Ok(Some(pieces));
        }
        pieces += 1;
        rest.extend_from_slice(&buffer[..count]);
        let end = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        for line in rest[..end].split(|&byte| byte == b'\n') {
            tell(line);
        }
        rest.drain(..end);
        if has_passed(deadline) {
            return Ok(None);
        }
    }
}

/// The last word but one.
fn start_of(line: &[u8]) -> Option<Byte> {
    let start = line.rsplit(|&byte| byte == b' ').nth(1)?;
    std::str::from_utf8(start).ok()?.parse().ok().map(Byte)
}

fn parse_lock(line: &str) -> Option<HeldLock> {
    // "1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 1073741826 1073741826"; who waits has a "->".
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "POSIX", _, "WRITE", pid, place, start, _] = words[..] else {
        return None;
    };
    let place: Vec<&str> = place.split(':').collect();
    let [major, minor, number] = place[..] else {
        return None;
    };
    let (major, minor) =
        (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    Some(HeldLock {
        pid: Pid::new(pid.parse().ok()?)?,
        inode: Inode::listed(major, minor, number.parse().ok()?),
        byte: Byte(start.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::model;
    use super::*;

    fn model_of(line: &[u8]) -> Option<HeldLock> {
        let words = model::words(line);
        if words.len() != 8 || words[1] != b"POSIX" || words[3] != b"WRITE" {
            return None;
        }
        let colons: Vec<usize> = (0..words[5].len()).filter(|&at| words[5][at] == b':').collect();
        let [first, second] = colons[..] else { return None };
        let hexadecimal = |part| {
            model::number(part, 16, 0..=u32::MAX.into()).and_then(|number| number.try_into().ok())
        };
        let device = (hexadecimal(&words[5][..first])?, hexadecimal(&words[5][first + 1..second])?);
        let pid = model::number(words[4], 10, 1..=i32::MAX.into())?;
        Some(HeldLock {
            pid: Pid::new(pid.try_into().ok()?)?,
            inode: Inode::listed(device.0, device.1, model::number_u64(&words[5][second + 1..])?),
            byte: Byte(model::number_i64(words[6])?),
        })
    }

    #[test]
    fn only_record_locks_for_writing_are_listed() {
        let pid = Pid::current();
        let lock = |line: &str| parse_lock(&line.replace("PID", &pid.to_string()));
        let expected = HeldLock { pid, inode: Inode::listed(0xfe, 1, 34), byte: Byte(77) };
        assert_eq!(lock("1: POSIX  ADVISORY  WRITE PID fe:01:34 77 78"), Some(expected));
        assert_eq!(lock("1: POSIX  ADVISORY  WRITE PID fe:01:34 77 EOF"), Some(expected));
        for bad in [
            "1: POSIX  ADVISORY  READ PID fe:00:34 77 77",
            "1: -> POSIX  ADVISORY  WRITE PID fe:00:34 77 77",
            "1: OFDLCK ADVISORY  WRITE -1 fe:00:34 77 77",
            "1: POSIX  ADVISORY  WRITE 0 fe:00:34 77 EOF",
            "1: POSIX  ADVISORY  WRITE PID <none>:0 77 EOF",
            "1: POSIX  ADVISORY  WRITE PID fe:00 77 EOF",
            "",
        ] {
            assert_eq!(lock(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_that_is_cut_in_two_is_one() -> io::Result<()> {
        let mut lines = Vec::new();
        let mut text = (&b"one\ntw"[..]).chain(&b"o\nthree\n"[..]);
        let pieces = read_lines(&mut text, None, &mut |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
        })?;
        assert_eq!(pieces, Some(2));
        lines.retain(|line| !line.is_empty());
        assert_eq!(lines, ["one", "two", "three"]);
        Ok(())
    }

    #[test]
    fn what_does_not_end_in_time_is_given_up() -> io::Result<()> {
        assert_eq!(read_lines(&mut io::repeat(b'x'), Some(Instant::now()), &mut |_| ())?, None);
        Ok(())
    }

    #[test]
    fn the_byte_is_looked_at_first() {
        for (line, start) in [
            ("1: POSIX  ADVISORY  WRITE 1 fe:01:34 77 78", Some(77)),
            ("8 EOF", Some(8)),
            ("x 8 ", Some(8)),
            ("x y 8", None),
            ("8", None),
            ("", None),
        ] {
            assert_eq!(start_of(line.as_bytes()), start.map(Byte), "{line}");
        }
    }

    #[test]
    fn fuzz_locks() {
        crate::fuzz::hold("locks", |text| {
            for line in text.split(|byte| *byte == b'\n') {
                let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
                let last_but_one = words.iter().rev().nth(1);
                let start = last_but_one.and_then(|word| model::number_i64(word)).map(Byte);
                assert_eq!(start_of(line), start);
                let Ok(text) = std::str::from_utf8(line) else { continue };
                let lines = [text, text.strip_prefix("lock:").unwrap_or_default()];
                for line in lines {
                    assert_eq!(parse_lock(line), model_of(line.as_bytes()));
                }
            }
            let mut all = Vec::new();
            let (first, second) = text.split_at(text.len() / 2);
            let mut pieces = first.chain(second);
            let pieces = read_lines(&mut pieces, None, &mut |line| all.push(line.to_vec()));
            assert!(pieces.is_ok_and(|pieces| pieces.is_some()));
            assert!(all.iter().all(|line| !line.contains(&b'\n')));
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            all.retain(|line| !line.is_empty());
            let expected = text[..whole].split(|byte| *byte == b'\n');
            assert!(all.iter().eq(expected.filter(|line| !line.is_empty())));
        });
    }
}
