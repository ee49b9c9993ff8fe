//! `stop` for many: all are asked before one is waited for, and it takes as long as the slowest one.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::config::{Location, Settings};
use crate::error::Error;
use crate::pid_file::look_all;
use crate::sys::epoll::Many;
use crate::sys::fd::deadline_in;
use crate::sys::process::PidFd;

use super::super::stop::{Ending, Found, find, found, nobody};
use super::super::{Event, Outcome, Stop, Verb, cannot};
use super::{EventsOfMany, Outcomes, allow_files, locate_together};

/// Stops all of these. An error is about all of them.
pub(crate) fn stop_together(
    all: &[Settings],
    how: Stop,
    events: EventsOfMany<'_>,
) -> Result<Outcomes, Error> {
    /// How many files are open for each: two pidfds, the PID file, and its directory.
    const FILES: u64 = 4;
    let locations = locate_together(all)?;
    let _more_files = allow_files("stop", FILES, all.len())?;
    let many = Many::new().map_err(|error| cannot("wait for many", error))?;
    let victims = all.iter().zip(locations).map(|(one, location)| Victim::new(one, location));
    let mut victims: Vec<_> = victims.collect();
    // Whoever is only just starting must not delay that the others are asked.
    let presences = look_all(victims.iter().filter_map(|victim| victim.location.as_ref()));
    let located = victims.iter_mut().filter(|victim| victim.location.is_some());
    for (victim, presence) in located.zip(presences) {
        let found = presence.and_then(|presence| found(presence, &victim.settings.name));
        victim.begin(how, found);
    }
    let began = Instant::now();
    for victim in &mut victims {
        if let (State::Starting, Some(location)) = (&victim.state, &victim.location) {
            let timeout = how.timeout.unwrap_or(victim.settings.stop_timeout);
            let deadline = deadline_in(timeout.saturating_sub(began.elapsed()));
            let found = find(location, &victim.settings.name, deadline);
            victim.begin(how, found.map(Some));
        }
    }
    wait(&mut victims, &many)?;
    Ok(victims.into_iter().enumerate().map(|(place, it)| it.conclude(place, events)).collect())
}

/// Waits until all have ended, or it is certain that they do not.
fn wait(victims: &mut [Victim<'_>], many: &Many) -> Result<(), Error> {
    let cannot = |error| cannot("wait for the processes to end", error);
    for (index, victim) in victims.iter().enumerate() {
        for (which, handle) in victim.handles().enumerate() {
            many.add(handle.as_fd(), (2 * index + which) as u64).map_err(cannot)?;
        }
    }
    loop {
        let mut endings = victims.iter().filter_map(Victim::ending).peekable();
        if endings.peek().is_none() {
            return Ok(());
        }
        let deadline = endings.filter_map(Ending::deadline).min();
        for number in many.wait(deadline).map_err(cannot)? {
            let Ok(number) = usize::try_from(number) else { continue };
            if let Some(victim) = victims.get_mut(number / 2) {
                if let Some(handle) = victim.handles().nth(number % 2) {
                    many.remove(handle.as_fd()).map_err(cannot)?;
                }
                victim.look();
            }
        }
        victims.iter_mut().for_each(Victim::on_time);
    }
}

/// One that is to be stopped.
struct Victim<'a> {
    settings: &'a Settings,
    location: Option<Location>,
    state: State<'a>,
    /// Whether it was asked to end.
    is_asked: bool,
}

enum State<'a> {
    /// It cannot be named yet.
    Starting,
    Nobody {
        broken: bool,
    },
    Ending(Ending<'a>),
    Over(Ending<'a>),
    Failed(Error, Option<Ending<'a>>),
}

impl<'a> Victim<'a> {
    fn new(settings: &'a Settings, location: Result<Location, Error>) -> Self {
        let (location, state) = match location {
            Ok(location) => (Some(location), State::Starting),
            Err(error) => (None, State::Failed(error, None)),
        };
        Self { settings, location, state, is_asked: false }
    }

    /// Asks the one that was found to end; `None`: it is only just starting.
    fn begin(&mut self, how: Stop, found: Result<Option<Found<'a>>, Error>) {
        let timeout = how.timeout.unwrap_or(self.settings.stop_timeout);
        self.state = match found {
            Ok(None) => State::Starting,
            Ok(Some(Found::Nobody { broken })) => State::Nobody { broken },
            Ok(Some(Found::Running(target))) => {
                self.is_asked = true;
                match Ending::begin(target, timeout, how.force) {
                    Ok(ending) => State::Ending(ending),
                    Err(error) => State::Failed(error, None),
                }
            }
            Err(error) => State::Failed(error, None),
        };
    }

    /// It, if it is waited for.
    fn ending(&self) -> Option<&Ending<'a>> {
        match &self.state {
            State::Ending(ending) => Some(ending),
            _ => None,
        }
    }

    /// What its end shows on, whether anybody waits for it or not.
    fn handles(&self) -> impl Iterator<Item = &PidFd> {
        let ending = match &self.state {
            State::Ending(ending) | State::Over(ending) | State::Failed(_, Some(ending)) => {
                Some(ending)
            }
            State::Starting | State::Nobody { .. } | State::Failed(_, None) => None,
        };
        ending.into_iter().flat_map(Ending::handles)
    }

    /// Looks whether it has ended.
    fn look(&mut self) {
        self.change(|ending| match ending.is_over_by(deadline_in(Duration::ZERO)) {
            Ok(true) => State::Over(ending),
            Ok(false) => State::Ending(ending),
            Err(error) => State::Failed(error, Some(ending)),
        });
    }

    /// Looks whether its time is up.
    fn on_time(&mut self) {
        self.change(|mut ending| {
            if ending.deadline().is_none_or(|deadline| Instant::now() < deadline) {
                return State::Ending(ending);
            }
            match ending.insist() {
                Ok(()) => State::Ending(ending),
                Err(error) => State::Failed(error, Some(ending)),
            }
        });
    }

    fn change(&mut self, to: impl FnOnce(Ending<'a>) -> State<'a>) {
        self.state = match std::mem::replace(&mut self.state, State::Starting) {
            State::Ending(ending) => to(ending),
            other => other,
        };
    }

    /// Does what is left to do, and tells what has become of it.
    fn conclude(self, place: usize, events: EventsOfMany<'_>) -> Result<Outcome, Error> {
        let Self { settings, location, state, is_asked } = self;
        let mut tell = |event: Event<'_>| events(place, event);
        if is_asked {
            tell(Event::Begin(Verb::Stop));
        }
        let outcome = match (state, &location) {
            (State::Nobody { broken }, Some(location)) => {
                nobody(location, &settings.name, broken, &mut tell)
            }
            (State::Over(mut ending) | State::Ending(mut ending), Some(location)) => {
                ending.tell(&mut tell);
                ending.conclude(location, &mut tell).map(|()| ending.outcome())
            }
            (State::Failed(error, ending), _) => {
                if let Some(mut ending) = ending {
                    ending.tell(&mut tell);
                }
                Err(error)
            }
            _ => return Err(Error::usage("there is no worker to stop")),
        };
        match &outcome {
            Err(error) => tell(Event::Failed(error)),
            Ok(_) if is_asked => tell(Event::Done),
            Ok(_) => {}
        }
        outcome
    }
}
