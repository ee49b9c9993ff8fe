//! `restart`: `stop`, then `start`.

#![forbid(unsafe_code)]

use crate::config::Settings;
use crate::error::Error;
use crate::handover;

use super::start::check;
use super::{Events, Outcome, Start, Stop, Subject, start, stop};

/// A daemon that does not stop is not started again; one that was not running is started.
pub(crate) fn restart(
    settings: &Settings,
    subject: &Subject,
    how_to_stop: Stop,
    how_to_start: Start,
    events: Events<'_>,
) -> Result<Outcome, Error> {
    // Better to hear that there can be no new daemon while the old one still runs.
    check(settings, subject)?;
    // It is the daemon itself, reloading, who has run this command once more.
    if !handover::is_waiting() {
        stop(settings, how_to_stop, events)?;
    }
    start(settings, subject, how_to_start, events)
}
