//! Registered actions: with options, on the command line, and in larger programs.

#![forbid(unsafe_code)]

use std::marker::PhantomData;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::context::Context;
use crate::daemon::{Bound, Daemon, Perform, Run, defaults};
use crate::error::{Error, Result};

use super::args::{Action, NoOptions, reload};
use super::render::Teller;
use super::run::{done, explain, failed};

impl Daemon {
    /// As [`action`](Self::action), with options: any `clap::Args`, whose doc comment is the help of the
    /// action.
    ///
    /// [`do_action`](Self::do_action) gives it the defaults of its options, and fails if one has none.
    ///
    /// ```
    /// use daemonocle::{Daemon, Outcome, Result};
    ///
    /// /// Get more detailed status of the daemon.
    /// #[derive(clap::Args)]
    /// struct FullStatus {
    ///     /// What it is good for is not known.
    ///     #[arg(long, default_value_t = 42)]
    ///     wibble: i32,
    /// }
    ///
    /// fn full_status(daemon: &Daemon, options: FullStatus) -> Result {
    ///     println!("{}: {:?}", options.wibble, daemon.status()?);
    ///     Ok(())
    /// }
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("example.pid");
    /// let daemon = Daemon::new("example").pid_file(path).action_with("full_status", full_status);
    /// assert_eq!(daemon.do_action("full-status")?, Outcome::Done); // 42: None
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn action_with<A, F>(self, name: impl Into<String>, run: F) -> Self
    where
        A: Args + 'static,
        F: Fn(&Self, A) -> Result + Send + Sync + 'static,
    {
        self.register(name.into(), Typed { run: Arc::new(run), options: PhantomData })
    }

    /// Adds all actions, registered ones included, as subcommands to a command made by clap's builder: for
    /// a larger program that wants those too. [`act_on`](Self::act_on) or [`act_on_with`](Self::act_on_with) does what is then parsed. Without
    /// registered ones, [`Action`] does the same and more conveniently.
    ///
    /// ```no_run
    /// use clap::{Arg, Command};
    /// use daemonocle::{Daemon, cli::NoOptions};
    ///
    /// fn main() -> std::process::ExitCode {
    ///     let daemon = Daemon::new("example").action("full-status", "Tell more.", |_| Ok(()));
    ///     let program = Command::new("program")
    ///         .arg(Arg::new("place").long("place").global(true).default_value("/tmp/example.pid"))
    ///         .subcommand(Command::new("hello"))
    ///         .subcommand_required(true);
    ///     let matches = daemon.commands::<NoOptions>(program).get_matches();
    ///     if let Some(("hello", _)) = matches.subcommand() {
    ///         println!("Hello!");
    ///         return std::process::ExitCode::SUCCESS;
    ///     }
    ///     let place = matches.get_one::<String>("place").cloned();
    ///     let daemon = daemon.pid_file(place.unwrap_or_default()).worker(|ctx| {
    ///         ctx.shutdown().wait();
    ///         Ok(())
    ///     });
    ///     daemon.act_on(&matches)
    /// }
    /// ```
    #[must_use]
    pub fn commands<O: Args>(&self, command: Command) -> Command {
        let command = Action::<O>::augment_subcommands(command);
        let command = command.subcommands(self.reloading().map(|_| reload()));
        self.customs().iter().fold(command, |command, custom| command.subcommand(custom.command()))
    }

    /// Does the action that is the subcommand of `matches`, by a command that
    /// [`commands`](Self::commands) has made. Otherwise as [`act`](Self::act).
    pub fn act_on(&self, matches: &ArgMatches) -> ExitCode {
        match self.parsed(matches) {
            Ok(parsed) => self.act_parsed(parsed),
            Err(error) => explain(&error),
        }
    }

    /// As [`act_on`](Self::act_on), with a worker that takes the options; see
    /// [`act_with`](Self::act_with). A registered action that starts the daemon gives it their defaults.
    pub fn act_on_with<O, W>(self, matches: &ArgMatches, worker: W) -> ExitCode
    where
        O: Args + Send + 'static,
        W: FnOnce(&Context, O) -> Result + Send + 'static,
    {
        match self.parsed(matches) {
            Ok(parsed) => self.act_parsed_with(parsed, worker),
            Err(error) => explain(&error),
        }
    }

    pub(super) fn parsed<O: Args>(&self, matches: &ArgMatches) -> Result<Parsed<O>, clap::Error> {
        let custom =
            matches.subcommand().and_then(|(name, matches)| Some((self.custom(name)?, matches)));
        match custom {
            Some((custom, matches)) => custom.bind(matches).map(Parsed::Custom),
            None => Action::from_arg_matches(matches).map(Parsed::Action),
        }
    }

    pub(super) fn act_parsed(&self, parsed: Parsed<NoOptions>) -> ExitCode {
        match parsed {
            Parsed::Action(action) => self.act(action),
            Parsed::Custom(bound) => self.act_custom(bound.run),
        }
    }

    pub(super) fn act_parsed_with<O, W>(self, parsed: Parsed<O>, worker: W) -> ExitCode
    where
        O: Args + Send + 'static,
        W: FnOnce(&Context, O) -> Result + Send + 'static,
    {
        let Bound { run, matches_of_nothing } = match parsed {
            Parsed::Action(action) => return self.act_with(action, worker),
            Parsed::Custom(bound) => bound,
        };
        // The action may start the daemon.
        let daemon = self.worker(by_default(matches_of_nothing, worker));
        let code = daemon.act_custom(run);
        // As in `act_with`.
        std::mem::forget(daemon);
        code
    }

    fn act_custom(&self, run: Box<Run>) -> ExitCode {
        match run(self) {
            Ok(_) => done(Ok(())),
            Err(error) => failed(&error, &mut Teller::new(&self.settings().name)),
        }
    }
}

/// A worker that takes options, with their defaults.
pub(super) fn by_default<O, W>(
    matches_of_nothing: fn(&str, Command) -> Result<ArgMatches, Error>,
    worker: W,
) -> impl FnOnce(&Context) -> Result + Send + 'static
where
    O: Args + Send + 'static,
    W: FnOnce(&Context, O) -> Result + Send + 'static,
{
    move |context| {
        let command = O::augment_args(Command::new("worker"));
        let matches = matches_of_nothing("the worker", command)?;
        let options = O::from_arg_matches(&matches);
        worker(context, options.map_err(|error| error.kind().to_string())?)
    }
}

/// What the command line asks for.
pub(super) enum Parsed<O> {
    Action(Action<O>),
    /// A registered one.
    Custom(Bound),
}

/// An action with options.
struct Typed<A, F> {
    run: Arc<F>,
    options: PhantomData<fn() -> A>,
}

impl<A, F> Perform for Typed<A, F>
where
    A: Args + 'static,
    F: Fn(&Daemon, A) -> Result + Send + Sync + 'static,
{
    fn by_default(&self, name: &str, daemon: &Daemon) -> Result {
        (self.run)(daemon, defaults(&format!("action {name:?}"))?)
    }

    fn describe(&self, command: Command) -> Command {
        A::augment_args(command)
    }

    fn bind(&self, name: &str, matches: &ArgMatches) -> Result<Bound, clap::Error> {
        let run = Arc::clone(&self.run);
        let options = A::from_arg_matches(matches)?;
        Ok(Bound::new(name, move |daemon| run(daemon, options)))
    }
}
