//! The file that a socket of the family Unix leaves where it was bound.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::sys::fs::{Dir, Inode, Last, Missing, Trusted, resolve, split};
use crate::sys::socket::is_abandoned;
use crate::sys::user;

/// One that is ours to remove: by its directory, which nobody can exchange, and as long as it is the same.
pub(super) struct SocketFile {
    dir: Dir,
    name: OsString,
    inode: Inode,
    owner: u32,
}

impl SocketFile {
    /// The one at this path, where links have been resolved; `None`: there is none.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let (dir, name) = split(path).ok_or(io::ErrorKind::IsADirectory)?;
        let dir = Dir::open(dir, Missing::Fail, |_| Ok(())).map_err(|error| error.error)?;
        let meta = dir.meta(name)?.filter(|meta| meta.is_socket());
        Ok(meta.map(|meta| Self { inode: meta.inode, owner: meta.uid, name: name.to_owned(), dir }))
    }

    /// Whether it is what is at this path.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let there = place_of(path).and_then(|path| Self::at(&path)).ok().flatten();
        there.is_some_and(|there| {
            let is_same = |a: &Self, b: &Self| (a.dir.inode(), a.inode) == (b.dir.inode(), b.inode);
            is_same(&there, self) && there.name == self.name
        })
    }

    /// Removes it, unless there is something else in its place.
    pub(super) fn remove(&self) -> io::Result<()> {
        match self.dir.meta(&self.name)? {
            // Nothing keeps another file from getting the number of one that somebody has removed.
            Some(meta) if meta.inode == self.inode && meta.is_socket() => {
                self.dir.remove(&self.name)
            }
            _ => Ok(()),
        }
    }

    /// For a successor: its directory, and what else there is to be known of it.
    pub(super) fn pass(&self) -> io::Result<(OwnedFd, String)> {
        let mut text = format!("{}.{}.", self.inode.device, self.inode.number);
        for byte in self.name.as_bytes() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok((self.dir.as_fd().try_clone_to_owned()?, text))
    }

    /// As it was [passed](Self::pass) by a predecessor.
    pub(super) fn inherited(dir: OwnedFd, text: &str) -> io::Result<Self> {
        let (inode, name) = parse(text).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { dir: Dir::inherited(dir)?, name, inode, owner: user::effective() })
    }
}

fn parse(text: &str) -> Option<(Inode, OsString)> {
    let (device, rest) = text.split_once('.')?;
    let (number, name) = rest.split_once('.')?;
    let is_whole = name.len() % 2 == 0 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    let name =
        is_whole.then(|| name.as_bytes().chunks(2).map(byte).collect::<Option<Vec<_>>>())??;
    let is_name = !name.is_empty() && !name.contains(&b'/') && !name.contains(&0);
    let inode = Inode { device: device.parse().ok()?, number: number.parse().ok()? };
    is_name.then(|| (inode, OsString::from_vec(name)))
}

/// The path without links on the way, one of a user who is neither root nor ourselves being an error: he
/// could lead our privileges anywhere.
fn place_of(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    resolve(Path::new("/"), &path, Last::Keep, Trusted::new(None))
        .map_err(|error| io::Error::new(error.error.kind(), error.to_string()))
}

/// Binds a socket to a path, and says which file that has made. What a daemon that was killed has left
/// there is removed.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let path = place_of(path)?;
    let listener = match UnixListener::bind(&path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // One of somebody else is his, abandoned or not.
            let file = SocketFile::at(&path)?
                .filter(|file| [0, user::effective()].contains(&file.owner))
                .filter(|_| is_abandoned(&path).unwrap_or(false));
            file.ok_or(error)?.remove()?;
            UnixListener::bind(&path)
        }
        other => other,
    }?;
    Ok((listener, SocketFile::at(&path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn it_arrives_as_it_was_passed() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        for name in ["x.sock", "a,b c.\u{e9}"] {
            let path = dir.path().join(name);
            let (_listener, file) = bind(&path)?;
            let (fd, text) = file.ok_or(io::ErrorKind::NotFound)?.pass()?;
            let file = SocketFile::inherited(fd, &text)?;
            assert!(file.is_at(&path), "{text}");
            file.remove()?;
            assert!(!path.exists() && !file.is_at(&path));
        }
        Ok(())
    }

    #[test]
    fn nonsense_is_nothing() {
        for bad in
            ["", "1", "1.2", "1.2.", "1.2.6", "1.2.6g", "1.2.2f", "1.2.00", "x.2.61", "1.-2.61"]
        {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
        assert_eq!(parse("1.2.61").map(|(_, name)| name).as_deref(), Some(OsStr::new("a")));
    }

    #[test]
    fn fuzz_words() {
        crate::fuzz::hold_text("socket_file", |text| {
            if let Some((_, name)) = parse(text) {
                let bytes = name.as_bytes();
                assert!(!bytes.is_empty() && !bytes.contains(&b'/') && !bytes.contains(&0));
            }
        });
    }
}
