//! The arguments, by clap.

#![forbid(unsafe_code)]

use std::time::Duration;

use clap::builder::Resettable;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::action::{Field, Start, Stop, UnknownField};

/// The actions as subcommands: a program of its own, or flattened into a larger one.
///
/// `O` are the worker's own options, accepted by `start` and `restart`. Global options of a larger
/// program work with every action, but none of them can be called `--debug`, `--fields`, `--force`,
/// `--json` or `--timeout`: clap panics over that in debug builds.
///
/// ```
/// use clap::Parser;
/// use daemonocle::cli::{Action, Format};
///
/// #[derive(Parser)]
/// enum Command {
///     #[command(flatten)]
///     Daemon(Action),
///     /// Say hello.
///     Hello,
/// }
///
/// let command = Command::try_parse_from(["example", "status", "--json"])?;
/// assert!(matches!(command, Command::Daemon(Action::Status { format: Format::Json, .. })));
/// # Ok::<(), clap::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<O = NoOptions> {
    /// Start the daemon.
    Start {
        /// How.
        how: Start,
        /// The worker's options.
        options: O,
    },
    /// Stop the daemon.
    Stop {
        /// How.
        how: Stop,
    },
    /// Stop then start the daemon.
    Restart {
        /// How to stop it.
        stop: Stop,
        /// How to start it.
        start: Start,
        /// The worker's options.
        options: O,
    },
    /// Get the status of the daemon.
    Status {
        /// In what form.
        format: Format,
        /// What to tell, in this order; nothing here: what [`Status`](crate::Status) has.
        fields: Vec<Field>,
    },
    /// Reload the daemon. Only where the definition says
    /// [`reload_on_hup`](crate::Daemon::reload_on_hup), which clap is not told: a larger program that wants
    /// it has a subcommand of its own for it, and gives this to [`Daemon::act`](crate::Daemon::act).
    Reload,
}

/// The form of a status.
///
/// Text: `example -- pid: 1234, status: sleeping, uptime: 11d 13h 47m, %cpu: 0.0, %mem: 0.0`, or
/// `example -- not running`. JSON, in one line:
/// `{"cpu_percent": 0.0, "memory_percent": 0.005, "name": "example", "pid": 1234, "status": "sleeping", "uptime": 1.23}`
/// with the uptime in seconds, or `{"name": "example", "status": "dead"}`.
///
/// With fields: `example -- pid: 1234, uptime: 1m, uids: [0, 0, 0]`, and
/// `{"pid": 1234, "uids": [0, 0, 0], "uptime": 61.23}`.
///
/// ```
/// use daemonocle::cli::Format;
/// assert_eq!(Format::default(), Format::Text);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A line to read.
    #[default]
    Text,
    /// A line of JSON, its keys sorted.
    Json,
}

/// A worker without options of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoOptions;

impl FromArgMatches for NoOptions {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self)
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Ok(())
    }
}

impl Args for NoOptions {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

impl<O: Args> Subcommand for Action<O> {
    fn augment_subcommands(command: Command) -> Command {
        // The arguments of an action that is not the one asked for are never made.
        let start = Command::new("start").about(START);
        let stop = Command::new("stop").about("Stop the daemon.");
        let restart = Command::new("restart").about(RESTART);
        let status = Command::new("status").about("Get the status of the daemon.");
        command
            .subcommand(start.defer(|command| worker::<O>(START, command.arg(debug()))))
            .subcommand(stop.defer(|command| command.arg(timeout()).arg(force())))
            .subcommand(restart.defer(|command| {
                worker::<O>(RESTART, command.arg(timeout()).arg(force()).arg(debug()))
            }))
            .subcommand(status.defer(|command| command.arg(json()).arg(fields())))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        matches!(name, "start" | "stop" | "restart" | "status")
    }
}

impl<O: Args> FromArgMatches for Action<O> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some(("start", matches)) => {
                Ok(Self::Start { how: start(matches), options: O::from_arg_matches(matches)? })
            }
            Some(("stop", matches)) => Ok(Self::Stop { how: stop(matches) }),
            Some(("restart", matches)) => Ok(Self::Restart {
                stop: stop(matches),
                start: start(matches),
                options: O::from_arg_matches(matches)?,
            }),
            Some(("status", matches)) => {
                let format = if matches.get_flag(JSON) { Format::Json } else { Format::Text };
                let fields = matches.get_many::<Vec<Field>>(FIELDS).unwrap_or_default();
                Ok(Self::Status { format, fields: fields.flatten().copied().collect() })
            }
            Some((RELOAD, _)) => Ok(Self::Reload),
            _ => Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(super) const RELOAD: &str = "reload";

/// As a subcommand, beside the others.
pub(super) fn reload() -> Command {
    Command::new(RELOAD).about("Reload the daemon.")
}

const START: &str = "Start the daemon.";
const RESTART: &str = "Stop then start the daemon.";

/// Adds the worker's options, whose doc comment tells of them and not of the action.
fn worker<O: Args>(about: &'static str, command: Command) -> Command {
    O::augment_args(command).about(about).long_about(Resettable::Reset)
}

/// Our own names for our options, which no option of a worker can have.
const DEBUG: &str = "daemonocle::debug";
const FIELDS: &str = "daemonocle::fields";
const FORCE: &str = "daemonocle::force";
const JSON: &str = "daemonocle::json";
const TIMEOUT: &str = "daemonocle::timeout";

/// An option of the worker's that cannot be told from one of ours: `start` and `restart` have both.
pub(super) fn collision<O: Args>(more: &[&'static str]) -> Option<String> {
    let worker = O::augment_args(Command::new("worker"));
    let is_called = |arg: &Arg, name: &str| {
        arg.get_long() == Some(name)
            || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    };
    let ours = ["debug", "force", "help", "timeout"];
    let is_taken = |name: &&str| worker.get_arguments().any(|arg| is_called(arg, name));
    ours.into_iter().chain(more.iter().copied()).find(is_taken).map(str::to_owned)
}

fn flag(name: &'static str, long: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(long).action(ArgAction::SetTrue).help(help)
}

fn debug() -> Arg {
    flag(DEBUG, "debug", "Do NOT detach and run in the background.")
}

fn force() -> Arg {
    flag(FORCE, "force", "Kill the daemon forcefully after the timeout.")
}

fn timeout() -> Arg {
    Arg::new(TIMEOUT).long("timeout").value_name("SECONDS").value_parser(seconds).allow_negative_numbers(true).help(
        "Number of seconds to wait for the daemon to stop. Overrides \"stop_timeout\" from daemon \
         definition.",
    )
}

fn json() -> Arg {
    flag(JSON, "json", "Show the status in JSON format.")
}

fn fields() -> Arg {
    Arg::new(FIELDS)
        .long("fields")
        .value_name("FIELDS")
        .action(ArgAction::Append)
        .value_parser(field_list)
        .help("Comma-separated list of process info fields to display.")
}

/// Names, separated by commas. An empty list is none, as in the original: scripts may have it.
fn field_list(text: &str) -> Result<Vec<Field>, UnknownField> {
    match text.trim() {
        "" => Ok(Vec::new()),
        list => list.split(',').map(|name| name.trim().parse()).collect(),
    }
}

/// A number of seconds, fractions allowed. It is read without a float, whose reading would bring
/// 17 kB of code and tables into every program. What is less than a nanosecond is left out.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let why = "it is not a number of seconds, such as 5 or 0.5";
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = whole.bytes().chain(fraction.bytes()).peekable();
    if digits.peek().is_none() || !digits.all(|byte| byte.is_ascii_digit()) {
        return Err(why);
    }
    let padded = format!("{fraction:0<9}");
    match (format!("0{whole}").parse(), padded[..9].parse()) {
        (Ok(seconds), Ok(nanoseconds)) => Ok(Duration::new(seconds, nanoseconds)),
        _ => Err(why),
    }
}

fn start(matches: &ArgMatches) -> Start {
    Start { foreground: matches.get_flag(DEBUG) }
}

fn stop(matches: &ArgMatches) -> Stop {
    Stop { timeout: matches.get_one(TIMEOUT).copied(), force: matches.get_flag(FORCE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_fractions_and_nothing_else() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("5."), Ok(Duration::from_secs(5)));
        assert_eq!(seconds(".25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("007.0000000019"), Ok(Duration::new(7, 1)));
        assert_eq!(seconds("18446744073709551615"), Ok(Duration::from_secs(u64::MAX)));
        for bad in ["", "x", "-1", "inf", "NaN", "1s", "1e300", ".", "+1", "1.+1", "1.2.3", "1_0"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert!(seconds("18446744073709551616").is_err());
    }

    #[test]
    fn an_option_of_the_worker_that_is_ours_is_found() {
        #[derive(clap::Args)]
        struct Fine {
            /// Of another name, with the identity of one of ours.
            #[arg(long = "wait")]
            timeout: u64,
        }
        #[derive(clap::Args)]
        struct Bad {
            /// Ours is a time, too.
            #[arg(long, alias = "timeout")]
            wait: u64,
        }
        assert_eq!(collision::<NoOptions>(&[]), None);
        assert_eq!(collision::<Fine>(&[]), None);
        assert_eq!(collision::<Bad>(&[]), Some("timeout".to_owned()));
        Action::<Fine>::augment_subcommands(Command::new("x")).debug_assert();
    }

    #[test]
    fn fields_are_separated_by_commas() {
        assert_eq!(field_list("pid"), Ok(vec![Field::Pid]));
        assert_eq!(
            field_list(" uptime, pid,pid "),
            Ok(vec![Field::Uptime, Field::Pid, Field::Pid])
        );
        assert_eq!(field_list(" "), Ok(Vec::new()));
        for bad in [",", "pid,", "pid status", "Pid"] {
            assert!(field_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_is_consistent() {
        Action::<NoOptions>::augment_subcommands(Command::new("x")).debug_assert();
    }

    #[test]
    fn fuzz_arguments() {
        crate::fuzz::hold_text("words", |text| {
            let _ = field_list(text);
            if let Ok(read) = seconds(text) {
                let float: f64 = text.parse().unwrap();
                let off = (read.as_secs_f64() - float).abs();
                assert!(off <= 1e-9_f64.max(float * f64::EPSILON), "{text}: {read:?}");
            }
        });
    }
}
