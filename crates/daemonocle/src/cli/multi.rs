//! The command line of many workers.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::action::{Details, Event, Outcome};
use crate::context::Context;
use crate::daemon::Bound;
use crate::error::{Error, Result};
use crate::multi::{Multi, WorkerResult, Workers};
use crate::worker::Exec;

use super::args::{Action, Format, NoOptions, RELOAD, collision};
use super::custom::by_default;
use super::json;
use super::render::{self, Teller};
use super::run::{answer, describe, explain, no_reload, not_running, pass_on};

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

/// Our own name for our option.
const WORKER_ID: &str = "daemonocle::worker_id";

fn worker_id(help: &'static str) -> Arg {
    Arg::new(WORKER_ID)
        .long("worker-id")
        .value_name("ID")
        .value_parser(clap::value_parser!(u32))
        .allow_negative_numbers(true)
        .help(help)
}

fn with_worker_ids(command: Command) -> Command {
    [
        ("start", "The ID of the worker to start."),
        ("stop", "The ID of the worker to stop."),
        ("restart", "The ID of the worker to restart."),
        ("status", "The ID of the worker whose status to get."),
    ]
    .into_iter()
    .fold(command, |command, (name, help)| with_worker_id(command, name, help))
}

fn with_worker_id(command: Command, name: &str, help: &'static str) -> Command {
    command.mut_subcommand(name, |command| command.arg(worker_id(help)))
}

/// Which workers the subcommand is for.
fn workers(matches: &ArgMatches) -> Workers {
    let id = matches.subcommand().and_then(|(_, matches)| matches.get_one(WORKER_ID));
    id.map_or(Workers::All, |id| Workers::One(*id))
}

impl Multi {
    /// Runs the command line, `start`, `stop`, `restart`, `status` or a registered
    /// [`action`](crate::Daemon::action), with the arguments of the process; `--worker-id` means one worker, and
    /// without it all are meant. The result is for `main` to return: 0 if all that was asked for is so; else
    /// that of the first worker for which it is not, as [`Daemon::run`](crate::Daemon::run) would have it.
    ///
    /// What is said of each worker is in one piece, and the workers are in their order. `status --json` is a
    /// list. Only one worker can be started with `--debug`.
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Multi};
    /// fn main() -> std::process::ExitCode {
    ///     let daemon = Daemon::new("worker_{n}").pid_file("/tmp/worker_{n}.pid");
    ///     Multi::new(4, daemon).run(|ctx| {
    ///         ctx.ready();
    ///         ctx.shutdown().wait();
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn run(self, worker: impl FnOnce(&Context) -> Result + Send + 'static) -> ExitCode {
        self.run_with(|context, NoOptions| worker(context))
    }

    /// As [`run`](Self::run), with options of the workers' own, which `start` and `restart` accept: see
    /// [`Daemon::run_with`](crate::Daemon::run_with). `--worker-id` is taken, too.
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Multi};
    ///
    /// #[derive(clap::Args)]
    /// struct Options {
    ///     /// The port of the first worker; the others have the next ones.
    ///     #[arg(long, default_value_t = 7000)]
    ///     port: u16,
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     let daemon = Daemon::new("worker_{n}").pid_file("/tmp/worker_{n}.pid");
    ///     Multi::new(4, daemon).run_with(|ctx, options: Options| {
    ///         let port = options.port + u16::try_from(ctx.worker_id().unwrap_or_default())?;
    ///         let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    ///         ctx.ready();
    ///         ctx.shutdown().wait();
    ///         Ok(drop(listener))
    ///     })
    /// }
    /// ```
    pub fn run_with<O, W>(self, worker: W) -> ExitCode
    where
        O: Args + Send + 'static,
        W: FnOnce(&Context, O) -> Result + Send + 'static,
    {
        let (bounds, which) = match self.parse::<O>() {
            Ok(Parsed::Action(action)) => return self.act_with(action, worker),
            Ok(Parsed::Custom(bounds, which)) => (bounds, which),
            Err(code) => return code,
        };
        // The action may start a worker.
        let multi = match bounds.first() {
            Some(Bound { matches_of_nothing, .. }) => {
                let worker = by_default(*matches_of_nothing, worker);
                self.map(|daemon| daemon.worker(worker))
            }
            None => self,
        };
        let code = multi.act_custom(bounds, which);
        // As in `act_with`.
        std::mem::forget(multi);
        code
    }

    /// As [`run`](Self::run), with another program as the worker; see [`Daemon::run_exec`](crate::Daemon::run_exec). All workers
    /// run it with the same arguments.
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Exec, Multi};
    /// fn main() -> std::process::ExitCode {
    ///     let daemon = Daemon::new("nap_{n}").pid_file("/tmp/nap_{n}.pid");
    ///     Multi::new(4, daemon).run_exec(Exec::new("sleep").arg("600"))
    /// }
    /// ```
    pub fn run_exec(self, program: Exec) -> ExitCode {
        let about = program.about();
        let multi = self.map(|daemon| match daemon.settings().about {
            Some(_) => daemon,
            None => daemon.about(about),
        });
        match multi.parse::<NoOptions>() {
            Ok(Parsed::Action(action)) => multi.map(|daemon| daemon.exec(program)).act(action),
            Ok(Parsed::Custom(bounds, which)) => {
                multi.map(|daemon| daemon.exec(program)).act_custom(bounds, which)
            }
            Err(code) => code,
        }
    }

    /// Does what has been parsed by a larger program, with a worker that takes the options; see
    /// [`MultiAction`]. Otherwise as [`run_with`](Self::run_with).
    pub fn act_with<O, W>(self, action: MultiAction<O>, worker: W) -> ExitCode
    where
        O: Send + 'static,
        W: FnOnce(&Context, O) -> Result + Send + 'static,
    {
        let MultiAction { action, workers } = action;
        let (action, options) = action.split();
        let multi = match options {
            Some(options) => {
                self.map(|daemon| daemon.worker(move |context| worker(context, options)))
            }
            None => self,
        };
        let code = multi.act(MultiAction { action, workers });
        // What the worker's closure owns belongs to the daemons now; this process must not clean it up.
        std::mem::forget(multi);
        code
    }

    /// Does what has been parsed, prints it, and gives the exit code. Otherwise as [`Daemon::act`](crate::Daemon::act).
    ///
    /// ```no_run
    /// use clap::Parser;
    /// use daemonocle::{Daemon, Multi, cli::MultiAction};
    ///
    /// #[derive(Parser)]
    /// struct Arguments {
    ///     #[command(subcommand)]
    ///     action: MultiAction,
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     let daemon = Daemon::new("worker_{n}").pid_file("/tmp/worker_{n}.pid").worker(|_| Ok(()));
    ///     Multi::new(4, daemon).act(Arguments::parse().action)
    /// }
    /// ```
    pub fn act(&self, MultiAction { action, workers }: MultiAction) -> ExitCode {
        let mut tellers = Tellers::new(self, workers);
        let mut tell = |place: usize, event: Event<'_>| tellers.at(place).event(event);
        // Whoever has changed a configuration wants to know where it is not in force.
        let is_reload = action == Action::Reload;
        let result = match action {
            Action::Start { how, .. } => self.start_telling(workers, &how, &mut tell),
            Action::Stop { how } => self.stop_telling(workers, &how, &mut tell),
            Action::Restart { stop, start, .. } => {
                self.restart_telling(workers, &stop, &start, &mut tell)
            }
            Action::Status { format, fields } if fields.is_empty() => {
                let result = self.status_telling(workers, &mut tell);
                return tellers.show(
                    result,
                    format,
                    &Form { text: render::status, json: json::status },
                );
            }
            Action::Status { format, fields } => {
                let result = self.status_of_telling(workers, &fields, &mut tell);
                let text = |name: &str, details: &Details| render::details(name, &fields, details);
                let json = |_: &str, details: &Details| json::details(details);
                return tellers.show(result, format, &Form { text, json });
            }
            Action::Reload if self.daemon().reloading().is_none() => {
                return tellers.failed(&no_reload(&self.daemon().settings().name));
            }
            Action::Reload => self.reload_telling(workers, &mut tell),
        };
        let is_missing = |worker: &WorkerResult<Outcome>| {
            is_reload && matches!(worker.result, Ok(Outcome::NotRunning))
        };
        match result {
            Ok(results) if results.iter().any(is_missing) => ExitCode::FAILURE,
            Ok(results) => exit_code(&results),
            Err(error) => tellers.failed(&error),
        }
    }

    /// Does an action of the program's own for each of these workers.
    fn act_custom(&self, bounds: Vec<Bound>, which: Workers) -> ExitCode {
        let mut tellers = Tellers::new(self, which);
        let all = match self.apart(which) {
            Ok(all) => all,
            Err(error) => return tellers.failed(&error),
        };
        let mut code = None;
        for ((place, settings), bound) in all.into_iter().enumerate().zip(bounds) {
            let daemon = self.daemon().with(settings);
            if let Err(error) = (bound.run)(&daemon) {
                if !error.is_told() {
                    tellers.at(place).error(&error);
                }
                code = code.or(Some(ExitCode::from(error.exit_code())));
            }
            // Its worker is everybody's.
            drop(daemon);
        }
        code.unwrap_or(ExitCode::SUCCESS)
    }

    fn parse<O: Args>(&self) -> Result<Parsed<O>, ExitCode> {
        let settings = self.daemon().settings();
        let option = collision::<O>(&["worker-id"]);
        let objection = option
            .map(|option| {
                format!("the worker's option --{option} is one of start or restart: rename it")
            })
            .or_else(|| settings.objection.clone())
            .or_else(|| {
                self.daemon().customs().iter().find_map(|custom| objection(&custom.command()))
            });
        if let Some(text) = objection {
            Teller::new(&settings.name).error(&Error::definition(text));
            return Err(ExitCode::FAILURE);
        }
        // The name is none: it is a template.
        let program = std::env::args_os().next().map(PathBuf::from);
        let name = program.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
        let command = describe(Command::new(name.unwrap_or_default().into_owned()), settings);
        let mut command = with_worker_ids(self.daemon().commands::<O>(command));
        if self.daemon().reloading().is_some() {
            command = with_worker_id(command, RELOAD, "The ID of the worker to reload.");
        }
        for custom in self.daemon().customs() {
            command = with_worker_id(command, custom.name(), "The ID of the worker to do it for.");
        }
        let matches = command.try_get_matches_from_mut(std::env::args_os());
        let parsed = matches
            .and_then(|matches| self.parsed(&matches).map_err(|error| error.format(&mut command)));
        parsed.map_err(|error| explain(&error))
    }

    fn parsed<O: Args>(&self, matches: &ArgMatches) -> Result<Parsed<O>, clap::Error> {
        let custom = matches
            .subcommand()
            .and_then(|(name, matches)| Some((self.daemon().custom(name)?, matches)));
        let Some((custom, of_custom)) = custom else {
            return MultiAction::from_arg_matches(matches).map(Parsed::Action);
        };
        let which = workers(matches);
        let count = match which {
            Workers::All => self.count(),
            Workers::One(_) => 1,
        };
        let bounds: Result<Vec<_>, _> = (0..count).map(|_| custom.bind(of_custom)).collect();
        Ok(Parsed::Custom(bounds?, which))
    }
}

/// What the command line asks for.
enum Parsed<O> {
    Action(MultiAction<O>),
    /// A registered one, bound for each of the workers.
    Custom(Vec<Bound>, Workers),
}

/// What is wrong with a registered action.
fn objection(command: &Command) -> Option<String> {
    let is_taken = command.get_arguments().any(|arg| arg.get_long() == Some("worker-id"));
    let name = command.get_name();
    is_taken.then(|| format!("option --worker-id of action {name:?} is there already: rename it"))
}

/// Shows to a person what becomes of each worker.
struct Tellers {
    /// One where it is not known who they are.
    all: Vec<Teller>,
    nobody: Teller,
}

impl Tellers {
    fn new(multi: &Multi, which: Workers) -> Self {
        let names = multi.settings(which).unwrap_or_default().into_iter().map(|one| one.name);
        let teller = |name: String| match which {
            Workers::All => Teller::of_many(&name),
            Workers::One(_) => Teller::new(&name),
        };
        Self {
            all: names.map(teller).collect(),
            nobody: Teller::new(&multi.daemon().settings().name),
        }
    }

    fn at(&mut self, place: usize) -> &mut Teller {
        self.all.get_mut(place).unwrap_or(&mut self.nobody)
    }

    /// What concerns all.
    fn failed(&mut self, error: &Error) -> ExitCode {
        self.nobody.error(error);
        ExitCode::from(error.exit_code())
    }

    /// Shows the answers for all workers.
    fn show<T>(
        &mut self,
        results: Result<Vec<WorkerResult<Option<T>>>, Error>,
        format: Format,
        form: &Form<impl Fn(&str, &T) -> String, impl Fn(&str, &T) -> String>,
    ) -> ExitCode {
        let results = match results {
            Ok(results) => results,
            Err(error) => return self.failed(&error),
        };
        let mut lines = Vec::new();
        let mut are_running = true;
        for (place, WorkerResult { name, result, .. }) in results.iter().enumerate() {
            match (result, format) {
                (Ok(Some(answer)), Format::Text) => lines.push((form.text)(name, answer)),
                (Ok(Some(answer)), Format::Json) => lines.push((form.json)(name, answer)),
                (Ok(None), format) => lines.push(not_running(name, format)),
                // It keeps its place: whoever asks for all finds them by their numbers.
                (Err(error), format) => {
                    self.at(place).error(error);
                    lines.push(unknown(name, format));
                }
            }
            are_running &= matches!(result, Ok(Some(_)));
        }
        let text = match format {
            Format::Text => lines.concat(),
            Format::Json => json::list(&lines),
        };
        answer(&text, are_running)
    }
}

fn unknown(name: &str, format: Format) -> String {
    match format {
        Format::Text => render::unknown(name),
        Format::Json => json::unknown(name),
    }
}

/// The two forms of an answer.
struct Form<A, B> {
    text: A,
    json: B,
}

fn exit_code(results: &[WorkerResult<Outcome>]) -> ExitCode {
    let failed = results.iter().find_map(|worker| worker.result.as_ref().err());
    if let Some(error) = failed {
        return ExitCode::from(error.exit_code());
    }
    match results {
        [WorkerResult { result: Ok(Outcome::Ended { status }), .. }] => pass_on(*status),
        _ => ExitCode::SUCCESS,
    }
}
