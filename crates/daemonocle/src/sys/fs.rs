//! Paths in directories that an enemy may write to.
//!
//! A path is resolved once, when the definition is checked, with every symbolic link on the way
//! looked at; from then on it is walked component by component, and a link that has appeared since
//! is refused.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};

use super::{retry, user};

/// A path at which something is wrong, and what.
#[derive(Debug)]
pub(crate) struct PathError {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

impl PathError {
    fn new(path: impl Into<PathBuf>, error: impl Into<io::Error>) -> Self {
        Self { path: path.into(), error: error.into() }
    }
}

/// Users whose files and directories are as good as our own: root, ourselves, and the user that
/// the daemon is going to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trusted {
    us: u32,
    daemon: u32,
    our_group: u32,
    daemon_group: u32,
}

impl Trusted {
    pub(crate) fn new(daemon: Option<(u32, u32)>) -> Self {
        let (us, our_group) = (user::effective(), user::effective_group());
        let (daemon, daemon_group) = daemon.unwrap_or((us, our_group));
        Self { us, daemon, our_group, daemon_group }
    }

    /// Whether a file of this user is as good as our own.
    pub(crate) fn includes(&self, uid: u32) -> bool {
        self.follows(uid) || uid == self.daemon
    }

    /// Whether a link of this user may be followed: with our privileges, he could otherwise lead us
    /// to files that are not his. The daemon's own user is not among them.
    pub(crate) fn follows(&self, uid: u32) -> bool {
        uid == 0 || uid == self.us || is_unmapped(uid)
    }

    /// Whether somebody else can put files into a directory, or another file in a file's place.
    /// In a sticky one (`/tmp`) he can do the former only.
    fn shares(&self, dir: &Meta) -> bool {
        const GROUP_WRITES: u32 = 0o020;
        const OTHERS_WRITE: u32 = 0o002;
        let is_our_group = [0, self.our_group, self.daemon_group].contains(&dir.gid);
        dir.mode & OTHERS_WRITE != 0 || (dir.mode & GROUP_WRITES != 0 && !is_our_group)
    }

    /// Why a file in this directory could be exchanged by somebody else, if it could.
    pub(crate) fn objection(&self, dir: &Meta) -> Option<String> {
        const STICKY: u32 = 0o1000;
        if !self.includes(dir.uid) {
            let owner = user::describe(dir.uid);
            return Some(format!("it belongs to user {owner}, who could replace the file"));
        }
        if self.shares(dir) && dir.mode & STICKY == 0 {
            let Meta { mode, gid, .. } = dir;
            let who = match mode & 0o002 {
                0 => format!("group {gid}"),
                _ => "every user".to_owned(),
            };
            return Some(format!(
                "{who} may write there (mode {mode:04o}) and could replace the file"
            ));
        }
        None
    }
}

/// Whether this is how a user shows who is not mapped into our user namespace, as the root outside
/// of a container's; where it is mapped, it is an ordinary user (user_namespaces(7)).
fn is_unmapped(uid: u32) -> bool {
    const OVERFLOW: u32 = 65534;
    let is_mapped = |map: &str| {
        map.lines().any(|line| {
            let numbers: Vec<u64> =
                line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
            matches!(numbers[..], [first, _, count] if (first..first.saturating_add(count)).contains(&OVERFLOW.into()))
        })
    };
    uid == OVERFLOW
        && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_mapped(&map))
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
        match std::fs::symlink_metadata(&here) {
            Ok(meta) if meta.is_symlink() => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(PathError::new(path, rustix::io::Errno::LOOP));
                }
                if !trusted.follows(meta.uid()) {
                    let owner = user::describe(meta.uid());
                    let why = format!("it is a symbolic link of user {owner}");
                    return Err(PathError::new(here, io::Error::other(why)));
                }
                let target = std::fs::read_link(&here).map_err(|e| PathError::new(&here, e))?;
                if target.is_absolute() {
                    done = root.to_path_buf();
                }
                push_reversed(&mut todo, &target);
            }
            Ok(_) => done = here,
            Err(error) if error.kind() == io::ErrorKind::NotFound => done = here,
            Err(error) => return Err(PathError::new(here, error)),
        }
    }
    Ok(done)
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

/// What to do about a directory that is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing {
    /// Say so.
    Fail,
    /// Make it with this mode and give it to this user and group.
    Make { mode: u32, uid: u32, gid: u32 },
}

/// An open directory, in which files are named without a way around it.
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// Opens the directory at the absolute, resolved `path`; every component must be a directory,
    /// and none a link. Each one's owner and mode go to `inspect` on the way.
    pub(crate) fn open(
        path: &Path,
        missing: Missing,
        mut inspect: impl FnMut(&Meta) -> io::Result<()>,
    ) -> Result<Self, PathError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut here = PathBuf::from("/");
        let mut dir = retry(|| Ok(rustix::fs::open("/", flags, Mode::empty())?))
            .map_err(|error| PathError::new("/", error))?;
        let mut look = |dir: &OwnedFd, here: &Path| {
            rustix::fs::fstat(dir)
                .map_err(io::Error::from)
                .and_then(|stat| inspect(&Meta::from(stat)))
                .map_err(|error| PathError::new(here, error))
        };
        look(&dir, &here)?;
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            here.push(name);
            let open = || retry(|| Ok(rustix::fs::openat(&dir, name, flags, Mode::empty())?));
            let next = match (open(), missing) {
                (Err(error), Missing::Make { mode, uid, gid })
                    if error.kind() == io::ErrorKind::NotFound =>
                {
                    make_dir(&dir, name, mode, (uid, gid)).and_then(|()| open())
                }
                (other, _) => other,
            };
            dir = next.map_err(|error| PathError::new(&here, error))?;
            look(&dir, &here)?;
        }
        Ok(Self(dir))
    }

    /// What `name` stands for, a link for itself; `None` when there is nothing.
    pub(crate) fn meta(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file for reading and writing that only its owner may open (mode 0600). An error of
    /// kind `AlreadyExists` if there is one.
    pub(crate) fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.open_with(name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// Opens a file that exists; neither a link is followed nor a FIFO waited for, nor does a
    /// terminal become ours.
    pub(crate) fn open_file(&self, name: &OsStr, access: Access) -> io::Result<File> {
        let access = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        self.open_with(name, access | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())
    }

    fn open_with(&self, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry(|| Ok(rustix::fs::openat(&self.0, name, flags, mode)?)).map(File::from)
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// Makes a directory for `owner`.
///
/// Giving it to him afterwards is safe only where nobody but us can put another directory in its
/// place meanwhile; anywhere else it is made as him, with no more rights than his.
fn make_dir(parent: &OwnedFd, name: &OsStr, mode: u32, owner: (u32, u32)) -> io::Result<()> {
    let is_ours = owner == (user::effective(), user::effective_group());
    let made = if is_ours || Trusted::new(None).objection(&Meta::of(parent)?).is_none() {
        make_and_give(parent, name, mode, (!is_ours).then_some(owner))
    } else {
        user::acting_as(owner.0, owner.1, || {
            // The process's umask is not asked: `mode` has been reduced by the definition's.
            let umask = rustix::process::umask(Mode::empty());
            let made = rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode));
            rustix::process::umask(umask);
            Ok(made?)
        })?
    };
    match made {
        // Somebody was faster; what he made is opened and looked at like any other.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn make_and_give(
    parent: &OwnedFd,
    name: &OsStr,
    mode: u32,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = retry(|| Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?))?;
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    // Last: until here nobody else could get in.
    Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?)
}

/// Device and inode number: which file a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    pub(crate) number: u64,
}

impl From<&std::fs::Metadata> for Inode {
    fn from(meta: &std::fs::Metadata) -> Self {
        Self { device: meta.dev(), number: meta.ino() }
    }
}

/// What stat(2) tells of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) inode: Inode,
    /// Owner.
    pub(crate) uid: u32,
    gid: u32,
    /// Permissions, the sticky bit and its like included: `0o7777` at most.
    pub(crate) mode: u32,
    /// Names that it has.
    pub(crate) links: u64,
    kind: FileType,
}

impl Meta {
    /// Of an open file.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(rustix::fs::fstat(file)?.into())
    }

    /// What it is if it is not a regular file, in words.
    pub(crate) fn oddity(&self) -> Option<&'static str> {
        match self.kind {
            FileType::RegularFile => None,
            FileType::Symlink => Some("a symbolic link"),
            FileType::Directory => Some("a directory"),
            FileType::Fifo => Some("a FIFO"),
            FileType::Socket => Some("a socket"),
            FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
            FileType::Unknown => Some("of an unknown type"),
        }
    }
}

impl From<Stat> for Meta {
    fn from(stat: Stat) -> Self {
        Self {
            inode: Inode { device: stat.st_dev, number: stat.st_ino },
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            links: stat.st_nlink,
            kind: FileType::from_raw_mode(stat.st_mode),
        }
    }
}

/// Sets the permissions of an open file, fchmod(2).
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    retry(|| Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?))
}

/// Opens a file for appending, as the standard output of a daemon.
///
/// A link in its place has appeared since the path was resolved and is refused; a FIFO without a
/// reader fails instead of blocking (`ENXIO`). Where somebody else may make files, a file that is
/// there already may be a trap: a hard link to a file that is precious to us, or a file of his
/// own, in which he would read what is written.
pub(crate) fn open_output(path: &Path, trusted: Trusted) -> io::Result<File> {
    let Some((parent, name)) = split(path) else {
        return Err(io::ErrorKind::IsADirectory.into());
    };
    let parent = Dir::open(parent, Missing::Fail, |_| Ok(())).map_err(|error| error.error)?;
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY | OFlags::NONBLOCK;
    // Reduced by the umask, which has been set.
    let file = parent.open_with(name, flags, Mode::from_raw_mode(0o666))?;
    let meta = Meta::of(&file)?;
    let dir = Meta::of(&parent)?;
    if trusted.shares(&dir) || !trusted.includes(dir.uid) {
        if !trusted.includes(meta.uid) {
            let owner = user::describe(meta.uid);
            let why = format!("it belongs to user {owner}, in a directory where he may make files");
            return Err(io::Error::other(why));
        }
        if meta.links > 1 && meta.kind == FileType::RegularFile {
            let why = "it is a hard link, in a directory where others may make files";
            return Err(io::Error::other(why));
        }
    }
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file)
}

/// The directory part of an absolute path, and the name in it.
pub(crate) fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

/// Whether the text can be part of a path at all: not empty, no NUL.
pub(crate) fn is_possible(path: &Path) -> bool {
    !path.as_os_str().is_empty() && !path.as_os_str().as_bytes().contains(&0)
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.path, crate::error::reason(&self.error))
    }
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

    #[test]
    fn a_link_on_the_way_is_refused_when_walking() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let root = root.path().canonicalize()?;
        std::fs::create_dir(root.join("real"))?;
        symlink("real", root.join("link"))?;
        assert!(Dir::open(&root.join("real"), Missing::Fail, |_| Ok(())).is_ok());
        assert!(Dir::open(&root.join("link"), Missing::Fail, |_| Ok(())).is_err());
        Ok(())
    }
}
