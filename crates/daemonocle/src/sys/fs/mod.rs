//! Paths in directories that an enemy may write to.
//!
//! A path is resolved once, when the definition is checked, with every symbolic link on the way
//! looked at; from then on it is walked component by component, and a link that has appeared since
//! is refused.

mod acl;
mod make;
mod resolve;
mod trust;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::{retry, user};
use acl::Writer;
use make::make_dir;

pub(crate) use resolve::{Last, PathError, is_possible, resolve, split};
pub(crate) use trust::Trusted;

/// What to do about a directory that is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing {
    /// Say so.
    Fail,
    /// Make it with this mode and give it to this user and group.
    Make { mode: u32, uid: u32, gid: u32 },
}

/// An open directory, in which files are named without a way around it.
pub(crate) struct Dir {
    fd: OwnedFd,
    inode: Inode,
}

impl Dir {
    /// One that another process has opened and handed over.
    pub(crate) fn inherited(fd: OwnedFd) -> io::Result<Self> {
        let meta = Meta::of(&fd)?;
        match meta.kind() {
            FileType::Directory => Ok(Self { inode: meta.inode, fd }),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Opens the directory at the absolute, resolved `path`; every component must be a directory,
    /// and none a link. Each one's owner and mode go to `inspect` on the way.
    pub(crate) fn open(
        path: &Path,
        missing: Missing,
        inspect: impl Fn(&Meta) -> io::Result<()>,
    ) -> Result<Self, PathError> {
        Self::walk(path, missing, &inspect)
    }

    fn walk(
        path: &Path,
        missing: Missing,
        inspect: &dyn Fn(&Meta) -> io::Result<()>,
    ) -> Result<Self, PathError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut here = PathBuf::from("/");
        let mut dir = retry(|| Ok(rustix::fs::open("/", flags, Mode::empty())?))
            .map_err(|error| PathError::new("/", error))?;
        let ours = Trusted::new(None);
        // Whether nobody but us can put another directory in the place of one on the way.
        let mut is_guarded = true;
        let look = |dir: &OwnedFd, here: &Path| {
            let meta = Meta::of(dir).and_then(|meta| inspect(&meta).map(|()| meta));
            meta.map_err(|error| PathError::new(here, error))
        };
        let mut meta = look(&dir, &here)?;
        is_guarded &= ours.guards(&meta);
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
                    make_dir(&dir, name, mode, (uid, gid), is_guarded).and_then(|()| open())
                }
                (other, _) => other,
            };
            dir = next.map_err(|error| PathError::new(&here, error))?;
            meta = look(&dir, &here)?;
            is_guarded &= ours.guards(&meta);
        }
        Ok(Self { fd: dir, inode: meta.inode })
    }

    /// Makes it the working directory of this process, fchdir(2).
    pub(crate) fn enter(&self) -> io::Result<()> {
        Ok(rustix::process::fchdir(&self.fd)?)
    }

    /// Another description of it, to be read; `None`: this process may not.
    pub(crate) fn open_readable(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match retry(|| Ok(rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            other => other.map(Some),
        }
    }

    /// Whether everybody may read it.
    pub(crate) fn is_readable_to_all(&self) -> io::Result<bool> {
        const ALL_READ: u32 = 0o444;
        Ok(rustix::fs::fstat(&self.fd)?.st_mode & ALL_READ == ALL_READ)
    }

    /// Which directory it is.
    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// What `name` stands for, a link for itself; `None` when there is nothing.
    pub(crate) fn meta(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let open = || self.open_with(name, OFlags::PATH, Mode::empty());
                Ok(Some(Meta::new(stat, || open().ok().filter(|file| is_inode_of(file, &stat)))))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The mode of a file that only its owner may open.
    pub(crate) const PRIVATE: u32 = 0o600;

    /// Makes a file for reading and writing that is [`PRIVATE`](Self::PRIVATE). An error of kind
    /// `AlreadyExists` if there is one.
    pub(crate) fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.open_with(name, flags, Mode::from_raw_mode(Self::PRIVATE))
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
        retry(|| Ok(rustix::fs::openat(&self.fd, name, flags, mode)?)).map(File::from)
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// Device and inode number: which file a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl Inode {
    /// The one that a list of the kernel's names by device numbers and inode number.
    pub(crate) fn listed(major: u32, minor: u32, number: u64) -> Self {
        Self { device: rustix::fs::makedev(major, minor), number }
    }
}

/// Which directory is at the path, if one can be looked at.
pub(crate) fn inode_of(path: &Path) -> Option<Inode> {
    Some(Inode::from(&std::fs::metadata(path).ok()?))
}

impl From<&std::fs::Metadata> for Inode {
    fn from(meta: &std::fs::Metadata) -> Self {
        Self { device: meta.dev(), number: meta.ino() }
    }
}

/// What stat(2) tells of a file.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) inode: Inode,
    /// Owner.
    pub(crate) uid: u32,
    /// Permissions, the sticky bit and its like included: `0o7777` at most.
    pub(crate) mode: u32,
    /// Who may write to it besides its owner, unless everybody may.
    writers: Vec<Writer>,
    /// Names that it has.
    pub(crate) links: u64,
    /// In bytes.
    pub(crate) size: i64,
    /// Its type and permissions, as the kernel gives them.
    raw_mode: u32,
}

impl Meta {
    /// Of an open file.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = rustix::fs::fstat(&file)?;
        Ok(Self::new(stat, || Some(file)))
    }

    /// Of what is at the path.
    fn at(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Self::of(retry(|| Ok(rustix::fs::open(path, flags, Mode::empty())?))?)
    }

    /// `open` is asked for the file only where its mode does not tell who may write to it.
    fn new<F: AsFd>(stat: Stat, open: impl FnOnce() -> Option<F>) -> Self {
        const GROUP_WRITES: u32 = 0o020;
        const OTHERS_WRITE: u32 = 0o002;
        let mode = stat.st_mode & 0o7777;
        let writers = match mode & (GROUP_WRITES | OTHERS_WRITE) {
            GROUP_WRITES => {
                open().map_or_else(|| vec![Writer::Unknown], |file| acl::writers(file, stat.st_gid))
            }
            _ => Vec::new(),
        };
        Self {
            inode: Inode::from(&stat),
            uid: stat.st_uid,
            mode,
            writers,
            links: stat.st_nlink,
            size: stat.st_size,
            raw_mode: stat.st_mode,
        }
    }

    /// Whether it is a socket, or where one was bound.
    pub(crate) fn is_socket(&self) -> bool {
        self.kind() == FileType::Socket
    }

    /// Looked up in a table only where it is asked for, which is a page of its own to a new process.
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.raw_mode)
    }

    /// What it is if it is not a regular file, in words.
    pub(crate) fn oddity(&self) -> Option<&'static str> {
        match self.kind() {
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

impl From<&Stat> for Inode {
    fn from(stat: &Stat) -> Self {
        Self { device: stat.st_dev, number: stat.st_ino }
    }
}

/// Whether an open file is the one that was looked at.
fn is_inode_of(file: &File, stat: &Stat) -> bool {
    rustix::fs::fstat(file).is_ok_and(|opened| Inode::from(&opened) == Inode::from(stat))
}

/// Sets the permissions of an open file, fchmod(2).
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    retry(|| Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?))
}

/// Sets the length of an open file, ftruncate(2).
pub(crate) fn set_length(file: impl AsFd, length: u64) -> io::Result<()> {
    retry(|| Ok(rustix::fs::ftruncate(&file, length)?))
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
    // Reduced by the umask, which has been set, or by the directory's default access control list (acl(5)).
    let file = parent.open_with(name, flags, Mode::from_raw_mode(0o666))?;
    let meta = Meta::of(&file)?;
    let dir = Meta::of(&parent)?;
    if trusted.shares(&dir) || !trusted.includes(dir.uid) {
        if !trusted.includes(meta.uid) {
            let owner = user::describe(meta.uid);
            let why = format!("it belongs to user {owner}, in a directory where he may make files");
            return Err(io::Error::other(why));
        }
        if meta.links > 1 && meta.kind() == FileType::RegularFile {
            let why = "it is a hard link, in a directory where others may make files";
            return Err(io::Error::other(why));
        }
    }
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

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
