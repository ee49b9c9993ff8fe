//! Locks that say which PID file a file is, whatever has become of it since: that of this directory
//! under this name, and that of this path. A file can be moved, and its locks go along.

#![forbid(unsafe_code)]

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::Location;
use crate::sys::fs::{Inode, inode_of};
use crate::sys::lock::Byte;

/// The byte for the name of `location` in the directory `dir`: who locks it has that PID file.
pub(super) fn of_entry(dir: Inode, location: &Location) -> Byte {
    let numbers = [dir.device.to_ne_bytes(), dir.number.to_ne_bytes()];
    let bytes = numbers.iter().flatten().chain(location.name.as_bytes());
    Byte(((1 << 61) | hash(bytes)).cast_signed())
}

/// The byte for the path of `location`, as seen from this root directory: who locks it may have that
/// PID file, if the directory has been replaced, or another one in another mount namespace.
pub(super) fn of_path(location: &Location) -> Byte {
    let root =
        inode_of(Path::new("/")).map(|root| [root.device.to_ne_bytes(), root.number.to_ne_bytes()]);
    let path = location.path.as_os_str().as_bytes();
    Byte(((1 << 62) | hash(root.iter().flatten().flatten().chain(path))).cast_signed())
}

/// Both, which a daemon locks.
pub(super) fn both(dir: Inode, location: &Location) -> [Byte; 2] {
    [of_entry(dir, location), of_path(location)]
}

/// Another byte, which goes with a place: on the PID file it stands for the place while a daemon hands over to its
/// successor, and neither of them has that; on a directory it is the daemon's mark, beside its sign.
pub(super) fn beside(Byte(place): Byte) -> Byte {
    Byte(place | (3 << 61))
}

/// 61 bits of FNV-1a. Whoever may take these locks could take them without a collision, too.
fn hash<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash >> 3
}
