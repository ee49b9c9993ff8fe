//! The command line of asynchronous workers.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::daemon::Daemon;
use crate::error::Result;
use crate::multi::Multi;
use crate::worker::block_on;

use super::args::{Action, NoOptions};
use super::multi::MultiAction;

impl Daemon {
    /// As [`run`](Self::run), with an asynchronous worker in a tokio runtime that is made in the
    /// daemon.
    ///
    /// ```no_run
    /// fn main() -> std::process::ExitCode {
    ///     daemonocle::Daemon::new("example").run_async(async |ctx| {
    ///         let shutdown = ctx.shutdown();
    ///         ctx.ready();
    ///         shutdown.requested().await;
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn run_async<W>(self, worker: W) -> ExitCode
    where
        W: AsyncFnOnce(Context) -> Result + Send + 'static,
    {
        self.run_async_with(async move |context, NoOptions| worker(context).await)
    }

    /// As [`run_async`](Self::run_async), with options as [`run_with`](Self::run_with) has them.
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
    ///     daemonocle::Daemon::new("example").run_async_with(async |ctx, options: Options| {
    ///         let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port)).await?;
    ///         ctx.ready();
    ///         ctx.shutdown().requested().await;
    ///         Ok(drop(listener))
    ///     })
    /// }
    /// ```
    pub fn run_async_with<O, W>(self, worker: W) -> ExitCode
    where
        O: Args + Send + 'static,
        W: AsyncFnOnce(Context, O) -> Result + Send + 'static,
    {
        self.run_with(blocking(worker))
    }

    /// As [`act_with`](Self::act_with), with an asynchronous worker in a tokio runtime that is made in the
    /// daemon: the larger program must not have one yet.
    ///
    /// ```no_run
    /// use clap::Parser;
    /// use daemonocle::{Daemon, cli::{Action, NoOptions}};
    ///
    /// #[derive(Parser)]
    /// struct Arguments {
    ///     #[command(subcommand)]
    ///     action: Action,
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     let Arguments { action } = Arguments::parse();
    ///     Daemon::new("example").act_async_with(action, async |ctx, NoOptions| {
    ///         ctx.ready();
    ///         ctx.shutdown().requested().await;
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn act_async_with<O, W>(self, action: Action<O>, worker: W) -> ExitCode
    where
        O: Send + 'static,
        W: AsyncFnOnce(Context, O) -> Result + Send + 'static,
    {
        self.act_with(action, blocking(worker))
    }
}

impl Multi {
    /// As [`run`](Self::run), with an asynchronous worker; see [`Daemon::run_async`].
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Multi};
    /// fn main() -> std::process::ExitCode {
    ///     let daemon = Daemon::new("worker_{n}").pid_file("/tmp/worker_{n}.pid");
    ///     Multi::new(4, daemon).run_async(async |ctx| {
    ///         let shutdown = ctx.shutdown();
    ///         ctx.ready();
    ///         shutdown.requested().await;
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn run_async<W>(self, worker: W) -> ExitCode
    where
        W: AsyncFnOnce(Context) -> Result + Send + 'static,
    {
        self.run_async_with(async move |context, NoOptions| worker(context).await)
    }

    /// As [`run_async`](Self::run_async), with options as [`run_with`](Self::run_with) has them.
    pub fn run_async_with<O, W>(self, worker: W) -> ExitCode
    where
        O: Args + Send + 'static,
        W: AsyncFnOnce(Context, O) -> Result + Send + 'static,
    {
        self.run_with(blocking(worker))
    }

    /// As [`act_with`](Self::act_with), with an asynchronous worker; see [`Daemon::act_async_with`].
    pub fn act_async_with<O, W>(self, action: MultiAction<O>, worker: W) -> ExitCode
    where
        O: Send + 'static,
        W: AsyncFnOnce(Context, O) -> Result + Send + 'static,
    {
        self.act_with(action, blocking(worker))
    }
}

/// Runs it in a runtime that is made in the daemon.
fn blocking<O, W>(worker: W) -> impl FnOnce(&Context, O) -> Result + Send + 'static
where
    O: 'static,
    W: AsyncFnOnce(Context, O) -> Result + Send + 'static,
{
    move |context, options| block_on(worker(context.clone(), options))
}
