//! Paths, resolved once with every link on the way looked at.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::{Meta, Trusted};
use crate::sys::{retry, user};

/// A path at which something is wrong, and what.
#[derive(Debug)]
pub(crate) struct PathError {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

impl PathError {
    pub(super) fn new(path: impl Into<PathBuf>, error: impl Into<io::Error>) -> Self {
        Self { path: path.into(), error: error.into() }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.path, crate::error::reason(&self.error))
    }
}

/// The links that a path may go through, path_resolution(7).
const MOST_LINKS: usize = 40;

/// Resolves the symbolic links of `path` below `root`, the last component left alone or followed
/// as `last` says, and makes it absolute as seen from outside `root`. What does not exist yet is
/// taken by name. A link of an untrusted owner is an error: he could point it anywhere.
pub(crate) fn resolve(
    root: &Path,
    path: &Path,
    last: Last,
    trusted: Trusted,
) -> Result<PathBuf, PathError> {
    let mut todo: Vec<OsString> = Vec::new();
    push_reversed(&mut todo, path);
    let mut done = root.to_path_buf();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            if done != root {
                done.pop();
            }
            continue;
        }
        let here = done.join(&name);
        if todo.is_empty() && last == Last::Keep {
            return Ok(here);
        }
        match Link::at(&here) {
            Ok(Some(link)) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(PathError::new(path, rustix::io::Errno::LOOP));
                }
                if !trusted.follows(link.owner, || Meta::at(&done).ok()) {
                    let owner = user::describe(link.owner);
                    let why = format!("it is a symbolic link of user {owner}");
                    return Err(PathError::new(here, io::Error::other(why)));
                }
                if link.target.is_absolute() {
                    done = root.to_path_buf();
                }
                push_reversed(&mut todo, &link.target);
            }
            Ok(None) => done = here,
            Err(error) if error.kind() == io::ErrorKind::NotFound => done = here,
            Err(error) => return Err(PathError::new(here, error)),
        }
    }
    Ok(done)
}

/// A symbolic link: whose it is, and where the very same one leads, though it be exchanged meanwhile.
struct Link {
    owner: u32,
    target: PathBuf,
}

impl Link {
    /// `None`: it is something else.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = retry(|| Ok(rustix::fs::open(path, flags, Mode::empty())?))?;
        let stat = rustix::fs::fstat(&link)?;
        if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
            return Ok(None);
        }
        let target = rustix::fs::readlinkat(&link, "", Vec::new())?.into_bytes();
        Ok(Some(Self { owner: stat.st_uid, target: OsString::from_vec(target).into() }))
    }
}

/// What [`resolve`] does with the last component of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// Names it, whatever it is.
    Keep,
    /// Follows it if it is a symbolic link.
    Follow,
}

fn push_reversed(todo: &mut Vec<OsString>, path: &Path) {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let names: Vec<OsString> = names.collect();
    todo.extend(names.into_iter().rev());
}

/// The directory part of an absolute path, and the name in it.
pub(crate) fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

/// Whether the text can be part of a path at all: not empty, no NUL.
pub(crate) fn is_possible(path: &Path) -> bool {
    !path.as_os_str().is_empty() && !path.as_os_str().as_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_resolved_inside_the_root() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let root = root.path().canonicalize()?;
        std::fs::create_dir(root.join("run"))?;
        std::fs::create_dir(root.join("var"))?;
        symlink("/run", root.join("var/run"))?;
        symlink("../../..", root.join("up"))?;
        symlink("loop", root.join("loop"))?;
        let trusted = Trusted::new(None);
        let resolve = |path: &str| {
            resolve(&root, Path::new(path), Last::Keep, trusted).map_err(|e| e.to_string())
        };
        assert_eq!(resolve("/var/run/x.pid"), Ok(root.join("run/x.pid")));
        assert_eq!(resolve("up/up/x.pid"), Ok(root.join("x.pid")));
        assert_eq!(resolve("../../x.pid"), Ok(root.join("x.pid")));
        assert_eq!(resolve("new/../dir/x.pid"), Ok(root.join("dir/x.pid")));
        assert!(resolve("loop/x.pid").is_err());
        Ok(())
    }
}
