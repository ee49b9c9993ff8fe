//! The other half of a reload: this program was run by a daemon, to take its place.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use crate::config::Settings;
use crate::error::Error;
use crate::handover;
use crate::listener::{self, Bequest};
use crate::pid_file::PidFile;
use crate::startup::{Newborn, Report};
use crate::sys::process::{self, SingleThreaded};

use super::birth::Place;
use super::start::{Subject, check, too_many_threads};

/// The settings, if they are those of this one of many workers.
pub(super) fn is_worker(settings: &Settings, worker: Option<u32>) -> Result<Settings, Error> {
    match settings.worker == worker {
        true => Ok(settings.clone()),
        false => Err(Error::definition("it was another worker before")),
    }
}

/// Takes the place of the daemon that has run this program because it reloads. Returns only if that
/// cannot be.
pub(crate) fn succeed(
    subject: &Subject,
    settings_of: impl FnOnce(Option<u32>) -> Result<Settings, Error>,
) -> Result<Infallible, Error> {
    let cannot =
        |error| Error::system(format!("cannot make sense of {}", handover::VARIABLE), error);
    let proof = SingleThreaded::check().map_err(too_many_threads)?;
    let Some(handover) = handover::take(proof).map_err(cannot)? else {
        return Err(cannot(io::ErrorKind::NotFound.into()));
    };
    let newborn = Newborn::inherited(handover.channel).map_err(cannot)?;
    let predecessor = process::parent().filter(|parent| newborn.is_from(*parent));
    let Some(predecessor) = predecessor else {
        return Err(cannot(io::Error::other("the daemon that reloads is not its parent")));
    };
    let prepare = || -> Result<_, Error> {
        let (config, _) = check(&settings_of(handover.worker)?, subject)?;
        let bequest = Bequest { given: handover.given, files: handover.files };
        listener::adopt(Some(bequest), proof)?;
        let pid_file = match (&config.location, handover.pid_file) {
            (None, nothing) if nothing.is_empty() => None,
            (None, _) => return Err(Error::definition("there is no PID file any more")),
            (Some(_), nothing) if nothing.is_empty() => {
                return Err(Error::definition("there was no PID file before"));
            }
            (Some(location), held) => {
                Some(Arc::new(PidFile::inherited(location, held, predecessor)?))
            }
        };
        let parent = match handover.parent {
            Some((pid, channel)) => Some((pid, Newborn::inherited(channel).map_err(cannot)?)),
            None => None,
        };
        Ok((Arc::new(config), pid_file, Place::Inherited { parent }))
    };
    match prepare() {
        Ok((config, pid_file, place)) => match subject.birth(config, pid_file, newborn, place) {
            Some(birth) => birth.live(),
            None => Err(Error::definition("the worker is in use")),
        },
        Err(error) => {
            let _ = newborn.report(&Report::Failed(error.exit_code(), error.to_string()));
            Err(error)
        }
    }
}
