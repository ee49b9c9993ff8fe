//! Signs on directories that there may be a daemon, for who does not find it by its PID file.
//!
//! The kernel's list of all locks tells for certain, but whoever reads it waits until every processor has
//! taken note, for milliseconds. So a daemon puts up signs: locks for reading, on the directory of its PID
//! file and on the root directory, on the bytes of its places there. Where none is, the list need not be
//! read. Anybody can put one up, who then makes others read the list, and nobody can be kept from it.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::config::Location;
use crate::sys::fs::{Dir, Missing};
use crate::sys::lock::{self, Byte};

use super::place;

/// The signs of one daemon. They are of these descriptions, and go with the last descriptor of each.
pub(super) struct Signs(Vec<OwnedFd>);

impl Signs {
    /// Puts them up: where this process may not read the directory, none, which others then know.
    pub(super) fn put_up(
        location: &Location,
        dir: &Dir,
        [entry, path]: [Byte; 2],
    ) -> io::Result<Self> {
        let mut signs = Vec::new();
        let root = root(location)?;
        for (dir, byte) in [(Some(dir), entry), (root.as_ref(), path)] {
            if let Some(dir) = dir.map(Dir::open_readable).transpose()?.flatten() {
                lock::share(&dir, byte)?;
                signs.push(dir);
            }
        }
        Ok(Self(signs))
    }

    /// Those that somebody else has put up and handed over.
    pub(super) fn inherited(signs: Vec<OwnedFd>) -> Self {
        Self(signs)
    }

    /// None: for who has no daemon to tell of.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }
}

/// Whether it is certain that no daemon has a PID file at `location`, or had one that is there no more. In
/// doubt it is not.
pub(super) fn are_absent(location: &Location, dir: Option<(&Dir, Byte)>) -> bool {
    let is_free = |dir: &Dir, byte| -> io::Result<bool> {
        // A daemon that might not read it has no sign there.
        Ok(dir.is_readable_to_all()?
            && match dir.open_readable()? {
                Some(dir) => !lock::is_locked(&dir, byte)?,
                None => false,
            })
    };
    let is_root_free = || match root(location)? {
        Some(root) => is_free(&root, place::of_path(location)),
        None => Ok(false),
    };
    dir.is_none_or(|(dir, byte)| is_free(dir, byte).unwrap_or(false))
        && is_root_free().unwrap_or(false)
}

/// The root directory; `None` for a daemon in another one, which must not have a way out of there.
fn root(location: &Location) -> io::Result<Option<Dir>> {
    match location.is_below_root {
        true => Ok(None),
        false => Dir::open(Path::new("/"), Missing::Fail, |_| Ok(()))
            .map(Some)
            .map_err(|error| error.error),
    }
}
