//! `status` of many: the use of the processor is watched at the same time for all of them.

#![forbid(unsafe_code)]

use std::io;

use crate::config::Settings;
use crate::error::Error;
use crate::pid_file::{Presence, Running, look_all};
use crate::sys::fd::wait_readable;
use crate::sys::proc;
use crate::sys::process::Pid;

use super::super::together::{EventsOfMany, allow_files, locate_together};
use super::super::{Event, Events};
use super::group::Groups;
use super::{Details, Field, Sight, Status, cannot, details, is_there, seen};

/// The state of each of these, `None` where one is not running.
pub(crate) fn status_together(
    all: &[Settings],
    events: EventsOfMany<'_>,
) -> Result<Vec<Result<Option<Status>, Error>>, Error> {
    ask(
        all,
        events,
        &Question {
            is_watched: true,
            first: &|_, running, sight, groups| sight.status(running, groups),
            again: &super::status,
        },
    )
}

/// What is asked for of each of these, `None` where one is not running.
pub(crate) fn details_together(
    all: &[Settings],
    fields: &[Field],
    events: EventsOfMany<'_>,
) -> Result<Vec<Result<Option<Details>, Error>>, Error> {
    ask(
        all,
        events,
        &Question {
            is_watched: fields.contains(&Field::CpuPercent),
            first: &|settings, running, sight, groups| {
                details::read(&settings.name, running, sight, fields, groups)
            },
            again: &|settings, events| super::details(settings, fields, events),
        },
    )
}

/// What is asked of many.
struct Question<'a, T> {
    is_watched: bool,
    first: &'a First<'a, T>,
    /// Asks one of them that has ended meanwhile, and may have a successor: it reloads.
    again: &'a Again<'a, T>,
}

type First<'a, T> = dyn Fn(&Settings, &Running, &Sight, &Groups<'_>) -> io::Result<Option<T>> + 'a;
type Again<'a, T> = dyn Fn(&Settings, Events<'_>) -> Result<Option<T>, Error> + 'a;

fn ask<T>(
    all: &[Settings],
    events: EventsOfMany<'_>,
    question: &Question<'_, T>,
) -> Result<Vec<Result<Option<T>, Error>>, Error> {
    /// How many files are open for each: two pidfds, the PID file, and its directory.
    const FILES: u64 = 4;
    let locations = locate_together(all)?;
    let _more_files = allow_files("examine", FILES, all.len())?;
    let mut presences = look_all(locations.iter().flatten()).into_iter();
    let looks = locations.into_iter().enumerate().map(|(place, location)| {
        let location = location?;
        let presence = presences.next().unwrap_or(Ok(Presence::Starting))?;
        let running = seen(&location, presence, &mut |event| events(place, event));
        Ok((location, running))
    });
    let looks: Vec<Result<_, Error>> = looks.collect();
    let groups = Snapshot::take();
    let sights = looks.into_iter().map(|look| {
        let (location, running) = look?;
        let Some(running) = running else {
            return Ok(None);
        };
        let sight = Sight::begin(&running, question.is_watched, &|group| groups.of(group));
        let sight = sight.map_err(|error| cannot(&location, running.pid(), error))?;
        Ok(Some((location, running, sight)))
    });
    let sights: Vec<Result<_, Error>> = sights.collect();
    let ends = sights.iter().flatten().flatten().filter_map(|(_, _, sight)| sight.as_ref());
    if let Some(end) = ends.filter_map(|sight| sight.usage.as_ref()?.end()).max() {
        // Who has ended meanwhile is found out afterwards.
        wait_readable([], Some(end)).map_err(|error| Error::system("cannot wait", error))?;
    }
    let groups = Snapshot::take();
    let answers = sights.into_iter().zip(all).enumerate().map(|(place, (sight, settings))| {
        let Some((location, running, sight)) = sight? else {
            return Ok(None);
        };
        let answer = match sight {
            Some(sight) if is_there(&running).unwrap_or(true) => {
                (question.first)(settings, &running, &sight, &|group| groups.of(group))
            }
            _ => Ok(None),
        };
        match answer.map_err(|error| cannot(&location, running.pid(), error))? {
            None => (question.again)(settings, &mut |event: Event<'_>| events(place, event)),
            answer => Ok(answer),
        }
    });
    Ok(answers.collect())
}

/// The process groups of the machine at one moment.
struct Snapshot(io::Result<Vec<(i32, Pid)>>);

impl Snapshot {
    fn take() -> Self {
        Self(proc::groups())
    }

    fn of(&self, group: i32) -> io::Result<Vec<Pid>> {
        match &self.0 {
            Ok(groups) => {
                let members = groups.iter().filter(|(its, _)| *its == group);
                Ok(members.map(|(_, pid)| *pid).collect())
            }
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}
