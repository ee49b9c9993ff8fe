//! The file that a socket of the family Unix leaves where it was bound.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::sys::fs::{Dir, Inode, Missing, split};
use crate::sys::socket::is_abandoned;

/// One that is ours to remove.
pub(super) struct SocketFile {
    dir: Dir,
    name: OsString,
    inode: Inode,
}

impl SocketFile {
    /// The one at this path; `None`: there is none, or who is there cannot be told.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let path = std::path::absolute(path).ok()?;
        let (dir, name) = split(&path)?;
        // By its directory from now on, which nobody can exchange: our privileges must not remove what is
        // somewhere else.
        let dir = Dir::open(&dir.canonicalize().ok()?, Missing::Fail, |_| Ok(())).ok()?;
        let meta = dir.meta(name).ok()??;
        meta.is_socket().then(|| Self { inode: meta.inode, name: name.to_owned(), dir })
    }

    /// Removes it, unless there is something else in its place.
    pub(super) fn remove(&self) -> io::Result<()> {
        match self.dir.meta(&self.name)? {
            Some(meta) if meta.inode == self.inode => self.dir.remove(&self.name),
            _ => Ok(()),
        }
    }
}

/// Binds a socket to a path. What a daemon that was killed has left there is removed.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let file = SocketFile::at(path).filter(|_| is_abandoned(path).unwrap_or(false));
            match file.map(|file| file.remove()) {
                Some(Ok(())) => UnixListener::bind(path),
                Some(Err(_)) | None => Err(error),
            }
        }
        other => other,
    }
}
