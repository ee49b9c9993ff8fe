//! Signs on directories that there may be a daemon, for who does not find it by its PID file.
//!
//! The kernel's list of all locks tells for certain, but whoever reads it waits until every processor has
//! taken note, for milliseconds. So a daemon puts up signs: locks for reading on the bytes of its places.
//! The one for the path is on the root directory, which all who see the same files have in common. The one
//! for the entry is on the directory of the PID file, where that is open to everybody, and so also for those
//! who have another root directory; else on the root directory, too. Where none is, the list need not be
//! read. Anybody can put one up, who then makes others read the list, and nobody can be kept from it.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::config::Location;
use crate::sys::fs::{Dir, Inode, Missing, inode_of};
use crate::sys::lock::{self, Byte, Holder};
use crate::sys::proc;
use crate::sys::proc::files::{LockKind, holds_lock};
use crate::sys::process::Pid;

use super::place;

/// The signs of one daemon, which go with it: even when it has removed its PID file, others have to wait
/// for its end.
pub(super) struct Signs(Vec<Post>);

/// What signs are on: a description of a directory. Those whom one process starts at a time share it, or
/// each would have to close those of all others. So the sign of one that has ended may stay while others
/// live, and makes who starts it anew read the list.
type Post = Arc<OwnedFd>;

static POSTS: Mutex<Vec<(Inode, Weak<OwnedFd>)>> = Mutex::new(Vec::new());

/// `None`: this process may not read the directory.
fn post(dir: &Dir) -> io::Result<Option<Post>> {
    let mut posts = POSTS.lock().unwrap_or_else(PoisonError::into_inner);
    posts.retain(|(_, post)| post.strong_count() > 0);
    let known = posts.iter().find(|(inode, _)| *inode == dir.inode());
    if let Some(post) = known.and_then(|(_, post)| post.upgrade()) {
        return Ok(Some(post));
    }
    let post = dir.open_readable()?.map(Arc::new);
    posts.extend(post.iter().map(|post| (dir.inode(), Arc::downgrade(post))));
    Ok(post)
}

impl Signs {
    /// Puts them up.
    pub(super) fn put_up(
        location: &Location,
        dir: &Dir,
        [entry, path]: [Byte; 2],
    ) -> io::Result<Self> {
        let mut posts = Vec::new();
        // Not where the daemon's user might learn by it what he may not read.
        if dir.is_readable_to_all()?
            && let Some(post) = post(dir)?
        {
            lock::share(&*post, entry)?;
            posts.push(post);
        }
        if let Some(post) = root(location)?.as_ref().map(post).transpose()?.flatten() {
            lock::share(&*post, path)?;
            // No more than is needed: each lock is one more that the kernel has to look through.
            if posts.is_empty() {
                lock::share(&*post, entry)?;
            }
            if !posts.iter().any(|other| Arc::ptr_eq(other, &post)) {
                posts.push(post);
            }
        }
        Ok(Self(posts))
    }

    /// Makes them this process's own as well, by a lock that nobody can be handed, and nobody can be in the
    /// way of: the holder of a claim that has one is the daemon, and not somebody who was sent a descriptor.
    pub(super) fn mark(&self, entry: Byte) -> io::Result<()> {
        let byte = place::beside(entry);
        self.0.iter().try_for_each(|post| lock::mark(&**post, byte))
    }

    /// Those that somebody else has put up and handed over.
    pub(super) fn inherited(posts: impl Iterator<Item = OwnedFd>) -> Self {
        Self(posts.map(Arc::new).collect())
    }

    /// None: for who has no daemon to tell of.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|post| post.as_fd())
    }
}

/// Whether this process has made signs for the entry its own.
pub(super) fn are_marked_by(location: &Location, pid: Pid, entry: Byte) -> io::Result<bool> {
    for dir in [Path::new("/"), &location.dir] {
        if let Some(inode) = inode_of(dir)
            && holds_lock(pid, inode, LockKind::Mark, place::beside(entry))?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it is certain that no daemon has a PID file at `location`, or had one that is there no more. In
/// doubt it is not.
pub(super) fn are_absent(location: &Location, dir: Option<(&Dir, Byte)>) -> bool {
    let is_free = |dir: &Dir, bytes: &[Byte]| -> io::Result<bool> {
        let Some(dir) = dir.open_readable()?.filter(|_| dir.is_readable_to_all().unwrap_or(false))
        else {
            // A daemon might have no sign there.
            return Ok(false);
        };
        for byte in bytes {
            if lock::is_locked(&dir, *byte)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let is_root_free = || match root(location)? {
        Some(root) => {
            let entry = dir.map(|(_, byte)| byte);
            let bytes: Vec<_> = [place::of_path(location)].into_iter().chain(entry).collect();
            is_free(&root, &bytes)
        }
        None => Ok(false),
    };
    dir.is_none_or(|(dir, byte)| is_free(dir, &[byte]).unwrap_or(false))
        && is_root_free().unwrap_or(false)
}

/// Makes sure that whoever has signs for the entry would be found in /proc.
pub(super) fn require_visible(location: &Location, dir: &Dir, entry: Byte) -> io::Result<()> {
    let is_hidden = |marker: Holder| marker == Holder::Invisible || !proc::is_own();
    for dir in marked_dirs(location, dir)? {
        if lock::marker(&dir, place::beside(entry))?.is_some_and(is_hidden) {
            return Err(unseen());
        }
    }
    Ok(())
}

/// Whether anybody has made marks for the entry, or what looks like them.
pub(super) fn are_marked(location: &Location, dir: &Dir, entry: Byte) -> io::Result<bool> {
    for dir in marked_dirs(location, dir)? {
        if lock::is_locked(&dir, place::beside(entry))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The directories that have a daemon's marks, as far as they may be read.
fn marked_dirs(location: &Location, dir: &Dir) -> io::Result<Vec<OwnedFd>> {
    let root = root(location)?;
    let all = root.iter().chain([dir]).map(Dir::open_readable);
    all.filter_map(io::Result::transpose).collect()
}

pub(super) fn unseen() -> io::Error {
    io::Error::other("a process that is out of sight may be the daemon that has lost it")
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
