//! The options of an action, and of somebody who was given none.

#![forbid(unsafe_code)]

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Args, Command};

use crate::action::Outcome;
use crate::error::{Error, Result};

use super::Daemon;
use super::custom::outcome;

/// An action of the program's own with its options, and whatever else only a program that has one needs.
pub(crate) struct Bound {
    /// Does it.
    pub(crate) run: Box<Run>,
    /// [`matches_of_nothing`].
    pub(crate) matches_of_nothing: fn(&str, Command) -> Result<ArgMatches, Error>,
}

pub(crate) type Run = dyn FnOnce(&Daemon) -> Result<Outcome, Error>;

impl Bound {
    pub(crate) fn new(name: &str, run: impl FnOnce(&Daemon) -> Result + 'static) -> Self {
        let name = name.to_owned();
        Self { run: Box::new(move |daemon| outcome(&name, run(daemon))), matches_of_nothing }
    }
}

/// The defaults of all options.
pub(crate) fn defaults<A: Args>(whose: &str) -> Result<A, Error> {
    let matches = matches_of_nothing(whose, A::augment_args(Command::new("defaults")))?;
    A::from_arg_matches(&matches).map_err(|error| wanting(whose, &error))
}

/// What is parsed where no arguments are.
fn matches_of_nothing(whose: &str, command: Command) -> Result<ArgMatches, Error> {
    let matches = command.no_binary_name(true).try_get_matches_from([""; 0]);
    matches.map_err(|error| wanting(whose, &error))
}

fn wanting(whose: &str, error: &clap::Error) -> Error {
    let what = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) => names.join(", "),
        _ => error.kind().to_string(),
    };
    Error::usage(format!("{whose} cannot do without options: {what}"))
}
