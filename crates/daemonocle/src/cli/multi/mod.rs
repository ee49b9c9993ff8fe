//! The command line of many workers.

#![forbid(unsafe_code)]

mod args;
mod tellers;

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::action::{Event, Outcome};
use crate::context::Context;
use crate::daemon::{Bound, program_name};
use crate::error::Result;
use crate::multi::{Multi, WorkerResult, Workers};
use crate::worker::Exec;

use super::answer::{of_fields, of_status};
use super::args::{Action, NoOptions, RELOAD};
use super::custom::by_default;
use super::run::{describe, done, failed, no_reload, parse_by, pass_on, refuse};

pub use args::MultiAction;
use args::{LONG, objection, with_worker_id, with_worker_ids, workers};
use tellers::Tellers;

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
        let parsed = match multi.parse::<NoOptions>() {
            Ok(parsed) => parsed,
            Err(code) => return code,
        };
        let multi = multi.map(|daemon| daemon.exec(program));
        match parsed {
            Parsed::Action(action) => multi.act(action),
            Parsed::Custom(bounds, which) => multi.act_custom(bounds, which),
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
        let result = match action {
            Action::Start { how, .. } => self.start_telling(workers, &how, &mut tell),
            Action::Stop { how } => self.stop_telling(workers, &how, &mut tell),
            Action::Restart { stop, start, .. } => {
                self.restart_telling(workers, &stop, &start, &mut tell)
            }
            Action::Status { format, fields } if fields.is_empty() => {
                let result = self.status_telling(workers, &mut tell);
                return tellers.show(result, format, &of_status());
            }
            Action::Status { format, fields } => {
                let result = self.status_of_telling(workers, &fields, &mut tell);
                return tellers.show(result, format, &of_fields(&fields));
            }
            Action::Reload => return self.reload_and_tell(workers, &mut tellers),
        };
        match result {
            Ok(results) => exit_code(&results),
            Err(error) => tellers.failed(&error),
        }
    }

    fn reload_and_tell(&self, which: Workers, tellers: &mut Tellers) -> ExitCode {
        let Some(reload) = self.daemon().reloading() else {
            return tellers.failed(&no_reload(&self.daemon().settings().name));
        };
        let mut tell = |place: usize, event: Event<'_>| tellers.at(place).event(event);
        let is_missing =
            |worker: &WorkerResult<Outcome>| matches!(worker.result, Ok(Outcome::NotRunning));
        match self.reload_telling(which, reload, &mut tell) {
            // Whoever has changed a configuration wants to know where it is not in force.
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
                code = code.or(Some(failed(&error, tellers.at(place))));
            }
        }
        code.unwrap_or_else(|| done(Ok(())))
    }

    fn parse<O: Args>(&self) -> Result<Parsed<O>, ExitCode> {
        let settings = self.daemon().settings();
        let objections =
            || self.daemon().customs().iter().find_map(|custom| objection(&custom.command()));
        refuse::<O>(settings, &[LONG], objections)?;
        // The name is none: it is a template.
        let command = describe(Command::new(program_name().unwrap_or_default()), settings);
        let mut command = with_worker_ids(self.daemon().commands::<O>(command));
        if self.daemon().reloading().is_some() {
            command = with_worker_id(command, RELOAD, "The ID of the worker to reload.");
        }
        for custom in self.daemon().customs() {
            command = with_worker_id(command, custom.name(), "The ID of the worker to do it for.");
        }
        parse_by(command, |matches| self.parsed(matches))
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
