//! From the arguments of the process to its exit code.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use clap::{ArgMatches, Args, Command};

use crate::action::Outcome;
use crate::config::Settings;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::error::{Error, Result};
use crate::sys::process::forbid_core_dumps;
use crate::sys::signal::{Signal, die_by};
use crate::worker::Exec;

use super::answer::{of_fields, of_status, show};
use super::args::{Action, NoOptions, collision};
use super::custom::Parsed;
use super::render::{self, Teller};

/// The exit code for wrong arguments, as clap and most shells have it.
const USAGE: u8 = 2;

impl Daemon {
    /// Runs the command line, `start`, `stop`, `restart`, `status` or a registered
    /// [`action`](Self::action), with the arguments of the process.
    /// The result is for `main` to return: 0 for success, 1 for failure and for a status that is "not
    /// running", 2 for wrong arguments, and the worker's own where a start failed by its end.
    ///
    /// In the foreground a worker that a signal has ended ends this process by the same signal.
    ///
    /// ```no_run
    /// fn main() -> std::process::ExitCode {
    ///     daemonocle::Daemon::new("example").pid_file("/tmp/example.pid").run(|ctx| {
    ///         ctx.ready();
    ///         ctx.shutdown().wait();
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn run(self, worker: impl FnOnce(&Context) -> Result + Send + 'static) -> ExitCode {
        self.run_with(|context, NoOptions| worker(context))
    }

    /// As [`run`](Self::run), with options of the worker's own, which `start` and `restart`
    /// accept: any `clap::Args`, except that `--debug`, `--force` and `--timeout` are taken. A registered
    /// action that starts the daemon starts it with the defaults of these options; if one has none, such
    /// a start fails.
    ///
    /// ```no_run
    /// #[derive(clap::Args)]
    /// struct Options {
    ///     /// Where to listen.
    ///     #[arg(long, default_value_t = 7777)]
    ///     port: u16,
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     daemonocle::Daemon::new("example").run_with(|ctx, options: Options| {
    ///         let listener = std::net::TcpListener::bind(("127.0.0.1", options.port))?;
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
        match self.parse::<O>() {
            Ok(parsed) => self.act_parsed_with(parsed, worker),
            Err(code) => code,
        }
    }

    /// As [`run`](Self::run), with another program as the worker. Without an [`about`](Self::about) the
    /// help says which one.
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Exec};
    /// fn main() -> std::process::ExitCode {
    ///     Daemon::new("nap").pid_file("/tmp/nap.pid").run_exec(Exec::new("sleep").arg("600"))
    /// }
    /// ```
    pub fn run_exec(mut self, program: Exec) -> ExitCode {
        if self.settings().about.is_none() {
            self = self.about(program.about());
        }
        match self.parse::<NoOptions>() {
            Ok(parsed) => self.exec(program).act_parsed(parsed),
            Err(code) => code,
        }
    }

    /// Does what has been parsed by a larger program, with a worker that takes the options; see
    /// [`Action`]. Otherwise as [`run_with`](Self::run_with).
    pub fn act_with<O, W>(self, action: Action<O>, worker: W) -> ExitCode
    where
        O: Send + 'static,
        W: FnOnce(&Context, O) -> Result + Send + 'static,
    {
        let (action, options) = action.split();
        let daemon = match options {
            Some(options) => self.worker(move |context| worker(context, options)),
            None => self,
        };
        let code = daemon.act(action);
        // What the worker's closure owns (a directory of temporary files, say) belongs to the
        // daemon now; this process must not clean it up.
        std::mem::forget(daemon);
        code
    }

    /// Does what has been parsed, prints it, and gives the exit code.
    ///
    /// A worker must have been set by [`worker`](Self::worker) for `start` and `restart` to succeed. In the
    /// foreground a worker that a signal has ended ends this process by the same signal.
    ///
    /// ```no_run
    /// use clap::Parser;
    /// use daemonocle::{Daemon, cli::Action};
    ///
    /// #[derive(Parser)]
    /// struct Arguments {
    ///     #[command(subcommand)]
    ///     action: Action,
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     let daemon = Daemon::new("example").pid_file("/tmp/example.pid").worker(|_| Ok(()));
    ///     daemon.act(Arguments::parse().action)
    /// }
    /// ```
    pub fn act(&self, action: Action) -> ExitCode {
        let name = &self.settings().name;
        let mut teller = Teller::new(name);
        let result = match action {
            Action::Start { how, .. } => self.start_telling(&how, &mut |event| teller.event(event)),
            Action::Stop { how } => self.stop_telling(&how, &mut |event| teller.event(event)),
            Action::Restart { stop, start, .. } => {
                self.restart_telling(&stop, &start, &mut |event| teller.event(event))
            }
            Action::Status { format, fields } if fields.is_empty() => {
                let result = self.status_telling(&mut |event| teller.event(event));
                return show(name, &result, format, &of_status(), &mut teller);
            }
            Action::Status { format, fields } => {
                let result = self.status_of_telling(&fields, &mut |event| teller.event(event));
                return show(name, &result, format, &of_fields(&fields), &mut teller);
            }
            Action::Reload => return self.reload_and_tell(&mut teller),
        };
        match result {
            Ok(Outcome::Ended { status }) => pass_on(status),
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => failed(&error, &mut teller),
        }
    }

    fn reload_and_tell(&self, teller: &mut Teller) -> ExitCode {
        let result = match self.reloading() {
            Some(reload) => reload(self.settings(), &mut |event| teller.event(event)),
            None => Err(no_reload(&self.settings().name)),
        };
        match result {
            // Whoever has changed a configuration wants to know that it is not in force.
            Ok(Outcome::NotRunning) => ExitCode::FAILURE,
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => failed(&error, teller),
        }
    }

    fn parse<O: Args>(&self) -> Result<Parsed<O>, ExitCode> {
        let settings = self.settings();
        refuse::<O>(settings, &[], || None)?;
        let command = describe(Command::new(settings.name.clone()), settings);
        parse_by(self.commands::<O>(command), |matches| self.parsed(matches))
    }
}

/// Refuses a definition that has no command line: `taken` are options beside those of [`Action`].
pub(super) fn refuse<O: Args>(
    settings: &Settings,
    taken: &[&'static str],
    objection: impl FnOnce() -> Option<String>,
) -> Result<(), ExitCode> {
    let option = collision::<O>(taken);
    let of_option =
        |option| format!("the worker's option --{option} is one of start or restart: rename it");
    match option.map(of_option).or_else(|| settings.objection.clone()).or_else(objection) {
        None => Ok(()),
        Some(text) => Err(failed(&Error::definition(text), &mut Teller::new(&settings.name))),
    }
}

/// What the arguments of the process mean.
pub(super) fn parse_by<T>(
    mut command: Command,
    read: impl FnOnce(&ArgMatches) -> Result<T, clap::Error>,
) -> Result<T, ExitCode> {
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let parsed =
        matches.and_then(|matches| read(&matches).map_err(|error| error.format(&mut command)));
    parsed.map_err(|error| explain(&error))
}

/// The command without its subcommands.
pub(super) fn describe(command: Command, settings: &Settings) -> Command {
    let command = command.subcommand_required(true).arg_required_else_help(true);
    let Some(about) = &settings.about else {
        return command;
    };
    let about = about.trim();
    let first = about.split_once("\n\n").map(|(first, _)| first.to_owned());
    match first {
        Some(first) => command.about(first).long_about(about.to_owned()),
        None => command.about(about.to_owned()),
    }
}

impl<O> Action<O> {
    /// The action proper, and the worker's options.
    pub(super) fn split(self) -> (Action, Option<O>) {
        let none = NoOptions;
        match self {
            Self::Start { how, options } => (Action::Start { how, options: none }, Some(options)),
            Self::Restart { stop, start, options } => {
                (Action::Restart { stop, start, options: none }, Some(options))
            }
            Self::Stop { how } => (Action::Stop { how }, None),
            Self::Status { format, fields } => (Action::Status { format, fields }, None),
            Self::Reload => (Action::Reload, None),
        }
    }
}

pub(super) fn no_reload(name: &str) -> Error {
    Error::definition(format!("{name} does not reload: its definition has no reload_on_hup"))
}

/// What is wrong with the arguments. Help goes to standard output and is no failure, if it gets there.
pub(super) fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match error.use_stderr() {
        true => ExitCode::from(USAGE),
        false => done(printed),
    }
}

/// The end of a command whose answer is what it has written to standard output: without that there is none.
pub(super) fn done(written: io::Result<()>) -> ExitCode {
    match written.and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            render::unwritten(&error);
            ExitCode::FAILURE
        }
    }
}

pub(super) fn failed(error: &Error, teller: &mut Teller) -> ExitCode {
    if !error.is_told() {
        teller.error(error);
    }
    ExitCode::from(error.exit_code())
}

/// Ends this process as the worker's has ended.
pub(super) fn pass_on(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal().and_then(Signal::new) {
        // The worker's death has left a core dump if one was wanted; ours would tell nothing.
        if forbid_core_dumps().is_ok() {
            die_by(signal);
        }
        return ExitCode::from(signal.exit_code());
    }
    ExitCode::from((status.code().unwrap_or(1) & 0xff) as u8)
}
