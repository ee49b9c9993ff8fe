//! Making a directory for somebody, where possible as a whole or not at all.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};

use super::super::process::Pid;
use super::super::{retry, user};

/// Makes a directory for `owner`.
///
/// Giving it to him and setting its mode afterwards is safe only where the way to it `is_guarded`:
/// nobody but us can put another directory in its place, or in that of one above it. Anywhere else
/// it is made as him, with no more rights than his.
pub(super) fn make_dir(
    parent: &OwnedFd,
    name: &OsStr,
    mode: u32,
    owner: (u32, u32),
    is_guarded: bool,
) -> io::Result<()> {
    let is_ours = owner == (user::effective(), user::effective_group());
    let made = match is_guarded {
        true if is_ours => make_as_is(parent, name, mode),
        true => make_and_give(parent, name, mode, owner),
        false => user::acting_as(owner.0, owner.1, || make_as_is(parent, name, mode))?,
    };
    match made {
        // Somebody was faster; what he made is opened and looked at like any other.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// One that is the caller's, which is all that it shall be from the beginning on.
fn make_as_is(parent: &OwnedFd, name: &OsStr, mode: u32) -> io::Result<()> {
    // The process's umask is not asked: `mode` has been reduced by the definition's.
    let umask = rustix::process::umask(Mode::empty());
    let made = rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode));
    rustix::process::umask(umask);
    Ok(made?)
}

/// Until it is all that it shall be, it has another name: were this process ended meanwhile, nobody could
/// tell afterwards that it is to be given to somebody who else cannot use it.
fn make_and_give(parent: &OwnedFd, name: &OsStr, mode: u32, owner: (u32, u32)) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let making = format!(".daemonocle-{}-{time}", Pid::current());
    let making = OsStr::new(&making);
    if make_in_place(parent, making, mode, owner).is_ok() {
        let flags = RenameFlags::NOREPLACE;
        let renamed = retry(|| Ok(rustix::fs::renameat_with(parent, making, parent, name, flags)?))
            .inspect_err(|_| unmake(parent, making));
        match renamed {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
            done => return done,
        }
    }
    // Not every file system can rename without replacing what may be there (renameat2(2)), to make a directory
    // may be allowed where to rename one is not, and somebody may have the other name.
    make_in_place(parent, name, mode, owner)
}

fn make_in_place(
    parent: &OwnedFd,
    name: &OsStr,
    mode: u32,
    (uid, gid): (u32, u32),
) -> io::Result<()> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    let give = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = retry(|| Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?))?;
        rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        // Last: until here nobody else could get in.
        Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?)
    };
    give().inspect_err(|_| unmake(parent, name))
}

/// Removes it, if it is empty. What matters is why.
fn unmake(parent: &OwnedFd, name: &OsStr) {
    let _ = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
}
