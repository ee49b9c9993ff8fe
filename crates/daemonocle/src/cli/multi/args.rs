//! The arguments of many workers.

#![forbid(unsafe_code)]

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::cli::args::{Action, NoOptions};
use crate::error::Result;
use crate::multi::Workers;

/// The actions of many workers as subcommands: those of [`Action`], with `--worker-id` for one of the
/// workers.
///
/// ```
/// use clap::Parser;
/// use daemonocle::Workers;
/// use daemonocle::cli::{Action, MultiAction};
///
/// #[derive(Parser)]
/// enum Command {
///     #[command(flatten)]
///     Workers(MultiAction),
///     /// Say hello.
///     Hello,
/// }
///
/// let command = Command::try_parse_from(["example", "stop", "--worker-id", "3"])?;
/// let Command::Workers(MultiAction { action, workers, .. }) = command else { unreachable!() };
/// assert!(matches!(action, Action::Stop { .. }));
/// assert_eq!(workers, Workers::One(3));
/// # Ok::<(), clap::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultiAction<O = NoOptions> {
    /// What is to be done.
    pub action: Action<O>,
    /// To whom.
    pub workers: Workers,
}

impl<O: Args> Subcommand for MultiAction<O> {
    fn augment_subcommands(command: Command) -> Command {
        with_worker_ids(Action::<O>::augment_subcommands(command))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Action::<O>::has_subcommand(name)
    }
}

impl<O: Args> FromArgMatches for MultiAction<O> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { action: Action::from_arg_matches(matches)?, workers: workers(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What nobody else's option may be called.
pub(super) const LONG: &str = "worker-id";

/// Our own name for it.
const WORKER_ID: &str = "daemonocle::worker_id";

fn worker_id(help: &'static str) -> Arg {
    Arg::new(WORKER_ID)
        .long(LONG)
        .value_name("ID")
        .value_parser(clap::value_parser!(u32))
        .allow_negative_numbers(true)
        .help(help)
}

pub(super) fn with_worker_ids(command: Command) -> Command {
    [
        ("start", "The ID of the worker to start."),
        ("stop", "The ID of the worker to stop."),
        ("restart", "The ID of the worker to restart."),
        ("status", "The ID of the worker whose status to get."),
    ]
    .into_iter()
    .fold(command, |command, (name, help)| with_worker_id(command, name, help))
}

pub(super) fn with_worker_id(command: Command, name: &str, help: &'static str) -> Command {
    command.mut_subcommand(name, |command| command.arg(worker_id(help)))
}

/// Which workers the subcommand is for.
pub(super) fn workers(matches: &ArgMatches) -> Workers {
    let id = matches.subcommand().and_then(|(_, matches)| matches.get_one(WORKER_ID));
    id.map_or(Workers::All, |id| Workers::One(*id))
}

/// What is wrong with a registered action.
pub(super) fn objection(command: &Command) -> Option<String> {
    let is_taken = command.get_arguments().any(|arg| arg.get_long() == Some(LONG));
    let name = command.get_name();
    is_taken.then(|| format!("option --worker-id of action {name:?} is there already: rename it"))
}
