//! Removing the PID file of a daemon that has ended and could not do it.

#![forbid(unsafe_code)]

use crate::config::Location;
use crate::error::Error;
use crate::sys::fs::{Access, Inode, set_length};

use super::access::{
    existing_dir, inode_in, inspect_file, is_sole_in_place, open_existing, require_expendable,
};
use super::attempt::{Attempt, evict};
use super::{CLAIM, PidFile, STARTUP, place};

/// How a PID file came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A daemon that was seen alive had this one.
    Daemon(Inode),
    /// Anybody may have put it there.
    Unknown,
}

/// Removes what a daemon that has ended could not remove, unless somebody is at the file again;
/// whether it did. A file that is `Unknown` must be one that a start would use.
pub(crate) fn sweep(location: &Location, origin: Origin) -> Result<bool, Error> {
    let Some(dir) = existing_dir(location)? else {
        return Ok(false);
    };
    // What has taken the place of the daemon's file is left alone, unopened.
    if let Origin::Daemon(its) = origin
        && inode_in(location, &dir)? != Some(its)
    {
        return Ok(false);
    }
    let (file, inode) = match open_existing(location, &dir, Access::ReadWrite) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(false),
        // Not ours to remove, and in nobody's way: a file that nobody holds means "not running".
        Err(error) if error.is_permission_denied() => return Ok(false),
        Err(error) => return Err(error),
    };
    let is_it = match origin {
        Origin::Daemon(its) => its == inode,
        Origin::Unknown => {
            inspect_file(location, &file).and_then(|()| require_expendable(location, &file)).is_ok()
        }
    };
    if !is_it {
        return Ok(false);
    }
    let cannot = |error| location.cannot("lock", error);
    let mut attempt = Attempt::at_shared(&file, STARTUP).map_err(cannot)?;
    if attempt == Attempt::Taken {
        attempt = Attempt::at_shared(&file, CLAIM).map_err(cannot)?;
    }
    match attempt {
        Attempt::Taken if !is_sole_in_place(location, &dir, inode)? => return Ok(false),
        Attempt::Taken => {
            let places = place::both(dir.inode(), location);
            PidFile::new(location, file, dir, inode, places).remove()?;
        }
        Attempt::Squatted => evict(location, &dir, inode).or_else(|error| {
            // As above: not ours to remove. Without its text it misleads nobody.
            set_length(&file, 0).map_err(|_| error)
        })?,
        Attempt::Held => {}
    }
    Ok(attempt != Attempt::Held)
}
