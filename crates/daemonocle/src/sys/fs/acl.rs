//! Access control lists, acl(5): who may write to a file besides its owner. The parser is pure and total.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{Mode, OFlags, fgetxattr, getxattr, openat};
use rustix::io::Errno;

use crate::sys::retry;

/// Somebody who may write to a file, and is neither its owner nor everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Group(u32),
    /// By name, as only a list can say it.
    User(u32),
    /// By a list that cannot be read.
    Unknown,
}

/// The attribute that a list is kept in.
const ATTRIBUTE: &str = "system.posix_acl_access";

/// No attribute is larger (`XATTR_SIZE_MAX`, xattr(7)).
const LARGEST: usize = 1 << 16;

/// The writers of an open file whose mode lets its group, `gid`, write to it. That may mean somebody
/// else: where there is a list, the mode shows what the list grants at most to any group or user.
pub(super) fn writers(file: impl AsFd, gid: u32) -> Vec<Writer> {
    match read(file) {
        Ok(None) => vec![Writer::Group(gid)],
        Ok(Some(list)) => parse(&list, gid).unwrap_or_else(|| vec![Writer::Unknown]),
        Err(_) => vec![Writer::Unknown],
    }
}

/// The list of an open file; `None` if it has none.
fn read(file: impl AsFd) -> io::Result<Option<Vec<u8>>> {
    let fd = file.as_fd();
    let mut buffer = vec![0; LARGEST];
    let length = match fgetxattr(fd, ATTRIBUTE, &mut buffer[..]) {
        // Opened by its path alone (`O_PATH`), as directories are that need not be readable.
        Err(Errno::BADF) => {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            match getxattr(path, ATTRIBUTE, &mut buffer[..]) {
                // There may be no /proc here, and a directory that is readable all the same.
                Err(Errno::NOENT) => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let dir = retry(|| Ok(openat(fd, ".", flags, Mode::empty())?))?;
                    fgetxattr(&dir, ATTRIBUTE, &mut buffer[..])
                }
                other => other,
            }
        }
        other => other,
    };
    match length {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        // None, or a file system without.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Who may write by a list as the kernel gives it out (`linux/posix_acl_xattr.h`): a version, and entries
/// of a tag, permissions and a number. `None`: it cannot be made sense of.
fn parse(list: &[u8], gid: u32) -> Option<Vec<Writer>> {
    const VERSION: u32 = 2;
    const WRITE: u16 = 2;
    const OWNER: u16 = 1;
    const USER: u16 = 2;
    const OWNING_GROUP: u16 = 4;
    const GROUP: u16 = 8;
    const MASK: u16 = 16;
    const OTHERS: u16 = 32;
    let (version, entries) = list.split_first_chunk()?;
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let mut writers = Vec::new();
    let mut is_masked = false;
    for &[t0, t1, p0, p1, n0, n1, n2, n3] in entries {
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        let may_write = u16::from_le_bytes([p0, p1]) & WRITE != 0;
        match u16::from_le_bytes([t0, t1]) {
            USER if may_write => writers.push(Writer::User(number)),
            GROUP if may_write => writers.push(Writer::Group(number)),
            OWNING_GROUP if may_write => writers.push(Writer::Group(gid)),
            MASK => is_masked |= !may_write,
            // The mode tells of these as it always does.
            OWNER | OTHERS | USER | GROUP | OWNING_GROUP => {}
            _ => return None,
        }
    }
    if is_masked {
        writers.clear();
    }
    Some(writers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: u32 = u32::MAX;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, number) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn who_may_write_is_who_is_granted_it_below_the_mask() {
        let granted = [(1, 7, NOBODY), (2, 7, 5), (2, 5, 6), (4, 7, NOBODY), (8, 2, 8)];
        let of = |mask| {
            let ends = [(16, mask, NOBODY), (32, 7, NOBODY)];
            parse(&list(&[&granted[..], &ends].concat()), 9)
        };
        assert_eq!(of(7), Some(vec![Writer::User(5), Writer::Group(9), Writer::Group(8)]));
        assert_eq!(of(5), Some(vec![]));
        let least = list(&[(1, 7, NOBODY), (4, 6, NOBODY), (32, 0, NOBODY)]);
        assert_eq!(parse(&least, 9), Some(vec![Writer::Group(9)]));
    }

    #[test]
    fn what_is_no_list_is_refused_and_never_read_beyond_its_end() {
        let whole = list(&[(1, 7, NOBODY), (2, 7, 5), (16, 7, NOBODY)]);
        for end in 0..whole.len() {
            let is_whole = end >= 4 && (end - 4) % 8 == 0;
            assert_eq!(parse(&whole[..end], 9).is_some(), is_whole, "{end}");
        }
        assert_eq!(parse(&[1, 0, 0, 0], 9), None, "version 1");
        assert_eq!(parse(&list(&[(3, 7, 5)]), 9), None, "a tag that there is not");
    }

    #[test]
    fn fuzz_lists() {
        crate::fuzz::hold("acl", |bytes| {
            let writers = parse(bytes, 9);
            assert!(writers.is_none_or(|writers| writers.len() <= bytes.len() / 8));
        });
    }
}
