//! The actions for many workers of one definition: done to all of them at the same time.

#![forbid(unsafe_code)]

mod start;
mod stop;

use std::path::Path;

use crate::config::{Config, Location, Settings};
use crate::error::{Error, Kind};
use crate::sys::process::MoreFiles;

use super::{Event, Outcome, Start, Stop, Subject};

pub(crate) use start::start_together;
pub(crate) use stop::stop_together;

/// Where events go, with the place in the list of the worker that they are about. All of a worker
/// come in a row, and the workers in their order.
pub(crate) type EventsOfMany<'a> = &'a mut dyn FnMut(usize, Event<'_>);

/// What has come of each, in their order.
pub(crate) type Outcomes = Vec<Result<Outcome, Error>>;

/// Checks the definitions, one by one and together.
pub(crate) fn check_together(all: &[Settings]) -> Result<Vec<Config>, Error> {
    let check = |one: &Settings| one.validate().map_err(|error| error.about(&one.name));
    let configs: Vec<Config> = all.iter().map(check).collect::<Result<_, _>>()?;
    check_unique(configs.iter().filter_map(|it| Some((it.name(), it.pid_file()?))))?;
    Ok(configs)
}

/// Where these are to be found, no two of them in the same place: one process would be all of those. What
/// is wrong with one of them is the answer for that one.
pub(crate) fn locate_together(all: &[Settings]) -> Result<Vec<Result<Location, Error>>, Error> {
    let locations: Vec<_> = all.iter().map(Settings::locate).collect();
    let found = locations.iter().zip(all).filter_map(|(location, one)| {
        let location = location.as_ref().ok()?;
        Some((&*one.name, &*location.path))
    });
    check_unique(found)?;
    Ok(locations)
}

/// Refuses two names with the same PID file, whatever links lead to it.
fn check_unique<'a>(all: impl Iterator<Item = (&'a str, &'a Path)>) -> Result<(), Error> {
    let mut all: Vec<_> =
        all.enumerate().map(|(place, (name, path))| (path, place, name)).collect();
    all.sort_unstable();
    for pair in all.windows(2) {
        if let [(path, _, other), (same, _, name)] = pair
            && path == same
        {
            return Err(Error::definition(format!(
                "PID files must be unique, and {other} and {name} both have {path:?}"
            )));
        }
    }
    Ok(())
}

/// Stops all of these, and starts those that have stopped or were not running. A wrong definition is
/// found before anything is stopped.
pub(crate) fn restart_together(
    all: &[Settings],
    subject: &Subject,
    how_to_stop: Stop,
    how_to_start: Start,
    events: EventsOfMany<'_>,
) -> Result<Outcomes, Error> {
    start::check_start(all, subject, how_to_start)?;
    let mut outcomes = stop_together(all, how_to_stop, events)?;
    let stopped = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok());
    let places: Vec<usize> = stopped.map(|(place, _)| place).collect();
    let stopped: Vec<_> = places.iter().filter_map(|place| all.get(*place)).cloned().collect();
    if stopped.is_empty() {
        return Ok(outcomes);
    }
    let mut tell = |index: usize, event: Event<'_>| {
        if let Some(place) = places.get(index) {
            events(*place, event);
        }
    };
    let started = start_together(&stopped, subject, how_to_start, &mut tell)?;
    for (place, outcome) in places.iter().zip(started) {
        if let Some(last) = outcomes.get_mut(*place) {
            *last = outcome;
        }
    }
    Ok(outcomes)
}

/// Sees to it that so many files can be open, `each` for all of `count` workers.
pub(super) fn allow_files(what: &str, each: u64, count: usize) -> Result<MoreFiles, Error> {
    /// For all of them, if only for a moment.
    const ALL: u64 = 16;
    let needed = each * count as u64 + ALL;
    MoreFiles::allow(needed).map_err(|most| {
        let message = format!(
            "cannot {what} {count} workers at once: it takes {needed} more open files, and {most} are \
             allowed in all: raise that limit (ulimit -Hn), or {what} them one by one (--worker-id)"
        );
        Error::new(Kind::System, message)
    })
}
