//! What a daemon's process looks like before its worker runs, step by step.
//!
//! The order matters: what needs privileges comes before they are given up, what could be abused
//! with privileges (opening output files) after. Every failure names the step and its object.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::config::{Config, Identity};
use crate::error::{Error, Kind};
use crate::sys::fd::{Stream, close_all_but, redirect};
use crate::sys::fs::{Dir, Inode, Missing, Trusted, open_output, split};
use crate::sys::{process, user};

/// Where the standard streams are to go.
pub(crate) enum Streams<'a> {
    /// They stay what they are: the foreground.
    Kept,
    /// To the files of the definition, and where it has none to the null device; standard error
    /// first to this pipe, while the start is being watched.
    Redirected { null: &'a OwnedFd, errors: Option<&'a OwnedFd> },
}

/// Gets rid of what the calling process has inherited and should not have: with
/// `close_open_files` all descriptors but `kept`, the library's own.
pub(crate) fn shed(config: &Config, kept: &[BorrowedFd<'_>]) -> Result<(), Error> {
    if config.settings().close_open_files {
        close_all_but(kept).map_err(|error| Error::system("cannot close open files", error))?;
    }
    Ok(())
}

/// Does everything else that the definition says, in the calling process.
pub(crate) fn enter(config: &Config, streams: &Streams<'_>) -> Result<(), Error> {
    let settings = config.settings();
    if let Some(root) = config.chroot_dir() {
        open_root(root, config.root).and_then(process::change_root).map_err(|error| {
            Error::system(format!("cannot change root directory to {root:?}"), error)
        })?;
    }
    if !settings.core_dumps {
        forbid_core_dumps()?;
    }
    make_dirs(config, streams)?;
    process::set_umask(settings.umask);
    if let Some(identity) = &config.identity {
        become_user(identity)?;
    }
    // As the daemon's user: a directory that only root may enter is no working directory for it.
    enter_work_dir(config)?;
    match streams {
        Streams::Kept => Ok(()),
        Streams::Redirected { null, errors } => redirect_streams(config, null, *errors),
    }
}

/// What is left to do in the successor of a daemon that did all that, and has passed most of it on.
pub(crate) fn resume(config: &Config) -> Result<(), Error> {
    if let Some(root) = config.chroot_dir() {
        let message = format!("cannot change root directory to {root:?} in a reload: restart it");
        return Err(Error::new(Kind::System, message));
    }
    if let Some(Identity { uid, gid, .. }) = &config.identity
        && !user::is_exactly(*uid, *gid)
    {
        let (name, group) = (user::describe(*uid), user::describe_group(*gid));
        let message = format!("cannot become user {name} with group {group} after a reload");
        return Err(Error::new(Kind::System, message));
    }
    if !config.settings().core_dumps {
        forbid_core_dumps()?;
    }
    process::set_umask(config.settings().umask);
    enter_work_dir(config)
}

fn forbid_core_dumps() -> Result<(), Error> {
    process::forbid_core_dumps().map_err(|error| Error::system("cannot forbid core dumps", error))
}

fn enter_work_dir(config: &Config) -> Result<(), Error> {
    let work_dir = config.work_dir();
    // Not by its path: what that leads to may have been exchanged since it was checked.
    Dir::open(work_dir, Missing::Fail, |_| Ok(()))
        .map_err(|error| error.error)
        .and_then(|dir| dir.enter())
        .map_err(|error| {
            Error::system(format!("cannot change working directory to {work_dir:?}"), error)
        })
}

/// Opens the root directory that was checked, and no other one that has come to its place since.
fn open_root(root: &Path, checked: Option<Inode>) -> io::Result<Dir> {
    let dir = Dir::open(root, Missing::Fail, |_| Ok(())).map_err(|error| error.error)?;
    match Some(dir.inode()) == checked {
        true => Ok(dir),
        false => Err(io::Error::other("it was exchanged during the start")),
    }
}

fn make_dirs(config: &Config, streams: &Streams<'_>) -> Result<(), Error> {
    let (uid, gid) = config.owner();
    let missing = Missing::Make { mode: 0o777 & !config.settings().umask, uid, gid };
    if config.makes_work_dir {
        Dir::open(config.work_dir(), missing, |_| Ok(())).map_err(|error| {
            Error::system(format!("cannot make working directory {:?}", error.path), error.error)
        })?;
    }
    if matches!(streams, Streams::Kept) {
        return Ok(());
    }
    for path in [config.stdout_file(), config.stderr_file()].into_iter().flatten() {
        if let Some((dir, _)) = split(path) {
            Dir::open(dir, missing, |_| Ok(())).map_err(|error| {
                let what = format!("output file {path:?}: cannot open directory {:?}", error.path);
                Error::system(what, error.error)
            })?;
        }
    }
    Ok(())
}

fn become_user(identity: &Identity) -> Result<(), Error> {
    let Identity { uid, gid, groups } = identity;
    // Somebody without privileges may name himself.
    if user::is_exactly(*uid, *gid) && user::effective() != 0 {
        return Ok(());
    }
    user::become_user(*uid, *gid, groups).map_err(|error| {
        let (name, group) = (user::describe(*uid), user::describe_group(*gid));
        let hint = match user::effective() {
            0 => "",
            _ => " (only root may do that)",
        };
        Error::system(format!("cannot become user {name} with group {group}{hint}"), error)
    })
}

fn redirect_streams(
    config: &Config,
    null: &OwnedFd,
    errors: Option<&OwnedFd>,
) -> Result<(), Error> {
    let (stdout_file, stderr_file) = (config.stdout_file(), config.stderr_file());
    let stdout = stdout_file.map(open).transpose()?;
    let stderr = match stderr_file {
        // One open file, so that the two streams share one position.
        Some(path) if stdout_file == Some(path) => None,
        Some(path) => Some(open(path)?),
        None => None,
    };
    let to = |stream, fd: BorrowedFd<'_>| {
        redirect(stream, fd)
            .map_err(|error| Error::system(format!("cannot redirect standard {stream}"), error))
    };
    to(Stream::Input, null.as_fd())?;
    to(Stream::Output, stdout.as_ref().map_or(null.as_fd(), AsFd::as_fd))?;
    match (&stderr, stderr_file) {
        (Some(file), _) => to(Stream::Error, file.as_fd()),
        (None, Some(_)) => to(Stream::Error, stdout.as_ref().map_or(null.as_fd(), AsFd::as_fd)),
        (None, None) => to(Stream::Error, errors.unwrap_or(null).as_fd()),
    }
}

fn open(path: &Path) -> Result<File, Error> {
    // By now this process acts as the daemon's user.
    open_output(path, Trusted::new(None)).map_err(|error: io::Error| {
        Error::system(format!("cannot open output file {path:?}"), error)
    })
}
