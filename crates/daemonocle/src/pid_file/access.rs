//! Opening the PID file, and refusing one that somebody else may have laid out for us.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;

use crate::config::Location;
use crate::error::{Error, Kind};
use crate::sys::fs::{Access, Dir, Inode, Meta, Missing, PathError};
use crate::sys::user;

pub(super) type Opened = Option<(File, Inode)>;

/// The directory, made if it is `missing`, and refused if somebody else could put another file in
/// the place of ours there.
pub(super) fn open_dir(location: &Location, missing: Missing) -> Result<Dir, PathError> {
    Dir::open(&location.dir, missing, |meta| match location.trusted.objection(meta) {
        None => Ok(()),
        Some(why) => Err(io::Error::other(why)),
    })
}

/// `None`: there is no such directory.
pub(super) fn existing_dir(location: &Location) -> Result<Option<Dir>, Error> {
    match open_dir(location, Missing::Fail) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(no_dir(location, error)),
    }
}

pub(super) fn no_dir(location: &Location, error: PathError) -> Error {
    let what = format!("PID file {:?}: directory {:?}", location.path, error.path);
    Error::system(what, error.error)
}

pub(super) fn inode_in(location: &Location, dir: &Dir) -> Result<Option<Inode>, Error> {
    let meta = dir.meta(&location.name).map_err(|error| location.cannot("find", error))?;
    Ok(meta.map(|meta| meta.inode))
}

/// Also whether it is new.
pub(super) fn open_or_create(
    location: &Location,
    dir: &Dir,
) -> Result<Option<(File, Inode, bool)>, Error> {
    // Nobody else may open a new file before it is locked; its real mode is set after that.
    match dir.create(&location.name) {
        Ok(file) => {
            let meta = Meta::of(&file).map_err(|error| location.cannot("examine", error))?;
            Ok(Some((file, meta.inode, true)))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let opened = open_existing(location, dir, Access::ReadWrite)?;
            if let Some((file, _)) = &opened {
                inspect_file(location, file)?;
            }
            Ok(opened.map(|(file, inode)| (file, inode, false)))
        }
        Err(error) => Err(location.cannot("create", error)),
    }
}

/// `None`: there is no such file (any more).
pub(super) fn open_existing(
    location: &Location,
    dir: &Dir,
    access: Access,
) -> Result<Opened, Error> {
    // Looked at before it is opened: merely opening a device can do something.
    match dir.meta(&location.name).map_err(|error| location.cannot("find", error))? {
        Some(meta) => require_regular(location, &meta)?,
        None => return Ok(None),
    }
    match dir.open_file(&location.name, access) {
        Ok(file) => {
            // It may have been exchanged since; this is the one that counts.
            let meta = Meta::of(&file).map_err(|error| location.cannot("examine", error))?;
            require_regular(location, &meta)?;
            Ok(Some((file, meta.inode)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(location.cannot("open", error)),
    }
}

/// Whether the file is one that a start has made and no daemon has taken yet.
pub(super) fn is_unpublished(location: &Location, dir: &Dir) -> Result<bool, Error> {
    let meta = dir.meta(&location.name).map_err(|error| location.cannot("find", error))?;
    Ok(meta.is_some_and(|meta| {
        location.trusted.includes(meta.uid) && meta.mode == Dir::PRIVATE && meta.size == 0
    }))
}

fn require_regular(location: &Location, meta: &Meta) -> Result<(), Error> {
    match meta.oddity() {
        None => Ok(()),
        Some(what) => Err(untrusted(location, &format!("it is {what}, not a regular file"))),
    }
}

/// Whether the file is in its place, with this as its only name. Of one that is, nobody can lose
/// anything by what is done to it: all of this at one moment, since a name of it elsewhere could
/// come and go while we look twice.
pub(super) fn is_sole_in_place(
    location: &Location,
    dir: &Dir,
    inode: Inode,
) -> Result<bool, Error> {
    match dir.meta(&location.name).map_err(|error| location.cannot("find", error))? {
        Some(meta) if meta.inode == inode => inspect(location, &meta).map(|()| true),
        _ => Ok(false),
    }
}

/// Refuses a file that somebody else could have prepared for us.
pub(super) fn inspect_file(location: &Location, file: &File) -> Result<(), Error> {
    let meta = Meta::of(file).map_err(|error| location.cannot("examine", error))?;
    inspect(location, &meta)
}

fn inspect(location: &Location, meta: &Meta) -> Result<(), Error> {
    if !location.trusted.includes(meta.uid) {
        let owner = user::describe(meta.uid);
        return Err(untrusted(location, &format!("it belongs to user {owner}")));
    }
    match meta.links {
        // 0: removed since it was opened, which is noticed later.
        0 | 1 => {}
        links => {
            let why = format!("it is a hard link, one of {links} names of the same file");
            return Err(untrusted(location, &why));
        }
    }
    if let Some(who) = location.trusted.writers(meta) {
        return Err(untrusted(location, &format!("{who} may write to it")));
    }
    Ok(())
}

/// Refuses a file whose contents nobody can want to lose: a PID file is never that long, whoever
/// has written to it. Somebody has named a wrong file.
pub(super) fn require_expendable(location: &Location, file: &File) -> Result<(), Error> {
    const LONGEST: i64 = 64;
    let meta = Meta::of(file).map_err(|error| location.cannot("examine", error))?;
    if meta.size > LONGEST {
        let why = format!("it has {} bytes of something that is not a PID", meta.size);
        return Err(untrusted(location, &why));
    }
    Ok(())
}

fn untrusted(location: &Location, why: &str) -> Error {
    let path = &location.path;
    let message = format!(
        "will not use PID file {path:?}: {why}; choose another path, or see by lslocks whether a \
         daemon has it before you remove it"
    );
    Error::new(Kind::Identity, message)
}
