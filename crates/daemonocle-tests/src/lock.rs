//! Locks as the library puts them on a PID file, and as somebody else may.

use std::fs::{self, File};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::process::Pid;

/// The byte that says that a daemon is being started.
pub const STARTUP: i64 = 1 << 30;
/// The byte that a daemon's open file description holds.
pub const CLAIM: i64 = STARTUP + 1;
/// The byte that a daemon itself holds.
pub const LIFE: i64 = STARTUP + 2;
/// The byte that it holds until it begins to end.
pub const STAYING: i64 = STARTUP + 3;
/// Where the bytes begin by which a keeper names its program.
pub const PROGRAMS: i64 = 1 << 32;
/// All bytes of a file.
pub const ALL: Range<i64> = 0..0;

/// The bytes that a daemon holds for the PID file at this path: for the entry of the directory, and
/// for the path.
///
/// # Panics
///
/// If its directory does not exist.
#[must_use]
pub fn places(path: &Path) -> [i64; 2] {
    let dir = fs::metadata(path.parent().unwrap()).unwrap();
    let numbers = [dir.dev().to_ne_bytes(), dir.ino().to_ne_bytes()];
    let entry = numbers.iter().flatten().chain(path.file_name().unwrap().as_bytes());
    let root = fs::metadata("/").unwrap();
    let root = [root.dev().to_ne_bytes(), root.ino().to_ne_bytes()];
    let path = root.iter().flatten().chain(path.as_os_str().as_bytes());
    [((1 << 61) | hash(entry)).cast_signed(), ((1 << 62) | hash(path)).cast_signed()]
}

/// Puts up the sign of a daemon for the PID file at this path, as anybody may. Where there is none, nobody looks
/// for a daemon that has lost its file.
///
/// # Panics
///
/// If that is not possible.
#[must_use]
pub fn put_up_sign(path: &Path) -> File {
    let root = File::open("/").unwrap();
    let [entry, _] = places(path);
    Lock::Read.take(&root, entry..entry + 1);
    root
}

fn hash<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash >> 3
}

/// A kind of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// For reading, of the open file description.
    Read,
    /// For writing, of the open file description.
    Write,
    /// For writing, of this process.
    Own,
}

impl Lock {
    /// Locks these bytes of the file.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    #[track_caller]
    pub fn take(self, file: &File, bytes: Range<i64>) {
        // Waits: a test beside this one may just be forking, with a copy of an earlier descriptor.
        let (command, kind) = match self {
            Self::Read => (libc::F_OFD_SETLKW, libc::F_RDLCK),
            Self::Write => (libc::F_OFD_SETLKW, libc::F_WRLCK),
            Self::Own => (libc::F_SETLKW, libc::F_WRLCK),
        };
        // SAFETY: all zero is a valid value of this plain struct.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        lock.l_start = bytes.start;
        lock.l_len = bytes.end - bytes.start;
        // SAFETY: the descriptor is open, and both commands read this struct.
        let code = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw const lock) };
        assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Who has a lock for writing of its own on this byte, or the caller itself, if that has it.
///
/// # Panics
///
/// If the kernel does not tell.
#[must_use]
#[track_caller]
pub fn holder(file: &File, byte: i64) -> Option<Pid> {
    // SAFETY: all zero is a valid value of this plain struct.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as libc::c_short;
    lock.l_start = byte;
    lock.l_len = 1;
    // Asked in the name of the description, to which a lock of the caller's is somebody else's.
    // SAFETY: the descriptor is open, and the command reads and writes this struct.
    let code = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    (lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid)
}
