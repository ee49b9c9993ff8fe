//! Whom a PID file names that nobody holds: no daemon of ours, but it may be one of another program, which
//! goes by the text. He is not signalled, and his file not taken away.

#![forbid(unsafe_code)]

use crate::config::Location;
use crate::error::Error;
use crate::sys::fs::Access;
use crate::sys::proc;
use crate::sys::process::{self, Pid};

use super::access::{existing_dir, open_existing};
use super::{Presence, contents, look};

/// The living process that the text names of a PID file which nobody holds.
pub(crate) fn bystander(location: &Location) -> Result<Option<Pid>, Error> {
    let Some(dir) = existing_dir(location)? else {
        return Ok(None);
    };
    let file = match open_existing(location, &dir, Access::Read) {
        Ok(opened) => opened,
        Err(error) if error.is_permission_denied() => None,
        Err(error) => return Err(error),
    };
    let cannot = |error| location.cannot("read", error);
    let named = file.map(|(file, _)| contents::pid(&file)).transpose().map_err(cannot)?;
    let Some(pid) = named.flatten() else {
        return Ok(None);
    };
    // A daemon that has come up since has its locks before its number is in the file, until its end.
    let is_anybody_there = !matches!(look(location)?, Presence::Absent { .. });
    Ok((!is_anybody_there && process::exists(pid) && !proc::is_dying(pid)).then_some(pid))
}
