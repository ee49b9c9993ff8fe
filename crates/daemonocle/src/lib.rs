//! Turns a Rust function into a well-behaved Unix daemon with a command line of its own.
//!
//! ```no_run
//! use daemonocle::Daemon;
//!
//! fn main() -> std::process::ExitCode {
//!     Daemon::new("example").pid_file("/run/example.pid").run(|ctx| {
//!         let listener = std::net::TcpListener::bind("127.0.0.1:7777")?;
//!         ctx.ready(); // releases `example start`
//!         for stream in listener.incoming() {
//!             drop(stream?);
//!         }
//!         Ok(())
//!     })
//! }
//! ```
//!
//! The program now has the commands `start`, `stop`, `restart` and `status`, and those that
//! [`Daemon::action`] adds. See [`Daemon`] for everything that can be defined, [`Context`] for what the
//! worker sees, and [`End`] for what the shutdown hook is told. Without a command line,
//! [`Daemon::start`], [`stop`](Daemon::stop), [`restart`](Daemon::restart), [`status`](Daemon::status)
//! and [`do_action`](Daemon::do_action) do the same, print nothing and never exit the calling process.
//!
//! # Features
//!
//! - `cli` (on by default): the command line, by clap.
//! - `macros` (on by default): the attribute `main`, which makes a daemon of the function `main`.
//! - `serde`: [`Status`], [`Details`], [`Value`] and [`Field`] implement `serde::Serialize`.
//! - `tokio`: asynchronous workers, `Daemon::run_async` and its like.
//!
//! # Limitations
//!
//! Linux only, 5.10 or later. A process that has more than one thread cannot start a daemon: make
//! threads and runtimes inside the worker. `std::process::exit` in the worker runs the shutdown hook
//! with glibc only; abort(3), a crash and SIGKILL run it nowhere.

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("daemonocle is written for Linux: everything else is missing in `src/sys`");

mod action;
#[cfg(feature = "cli")]
pub mod cli;
mod config;
mod context;
mod daemon;
mod environment;
mod error;
#[cfg(test)]
mod fuzz;
mod handover;
mod layout;
mod listener;
mod multi;
mod pid_file;
mod shutdown;
mod startup;
#[allow(unsafe_code, reason = "the system calls are here, and nowhere else")]
mod sys;
mod worker;

pub use action::{Details, DetailsIter, Field, Outcome, Start, Status, Stop, UnknownField, Value};
pub use config::{Config, Detach};
pub use context::Context;
pub use daemon::Daemon;
pub use error::{Error, Exit, Result};
pub use layout::Layout;
pub use listener::Address;
pub use multi::{Multi, WorkerResult, Workers};
pub use shutdown::{End, Shutdown};
pub use sys::process::Pid;
pub use sys::signal::Signal;
pub use worker::Exec;

/// Makes the function `main` the worker of a daemon, and a program with its command line of it.
///
/// ```no_run
/// use daemonocle::{Context, Result};
///
/// /// Waits until it is asked to end.
/// #[daemonocle::main(pid_file = "/run/example.pid", umask = 0o027, close_open_files)]
/// fn main(ctx: &Context) -> Result {
///     ctx.ready();
///     ctx.shutdown().wait();
///     Ok(())
/// }
/// ```
///
/// That is the same as the following, and so is what it costs:
///
/// ```no_run
/// use daemonocle::{Context, Daemon, Result};
///
/// fn main() -> std::process::ExitCode {
///     Daemon::default()
///         .about("Waits until it is asked to end.")
///         .pid_file("/run/example.pid")
///         .umask(0o027)
///         .close_open_files()
///         .run(worker)
/// }
///
/// fn worker(ctx: &Context) -> Result {
///     ctx.ready();
///     ctx.shutdown().wait();
///     Ok(())
/// }
/// ```
///
/// # Arguments
///
/// - Every setting of [`Daemon`], by the name of its method: `setting = value`, with any expression for
///   the value, or `setting` alone if the method takes no value (`close_open_files`,
///   `allow_core_dumps`, `reload_on_hup`). They are evaluated each time the program runs, whatever its command, and not
///   in the worker.
/// - `action(name, about, function)` and `action_with(name, function)`, as often as one likes: see
///   [`Daemon::action`] and [`Daemon::action_with`].
/// - `name = value`: the name for [`Daemon::new`]. Default: the name of the program's file, as of
///   `Daemon::default()`.
/// - `multi = number`: a setting too, for so many workers of this definition, see [`Multi`]: `name` and
///   `pid_file` need `{n}` in them, as in
///   `#[daemonocle::main(multi = 4, name = "worker_{n}", pid_file = "/run/worker/{n}.pid")]`. Default: one
///   daemon.
/// - `crate = path`: where this library is, for who has renamed or re-exported it. Default:
///   `::daemonocle`.
///
/// # The function
///
/// Its documentation is the help text, as it is written, unless [`about`](Daemon::about) is set: the
/// first paragraph for `-h`, and all of it for `--help`.
///
/// Its first parameter, which may be missing, is the [`Context`]: `&Context` for a `fn`, and for an
/// `async fn` `Context` itself. The second one, which may be missing too, are the worker's options, any
/// `clap::Args`, as for [`Daemon::run_with`].
///
/// It returns nothing, `!`, a [`Result`](crate::Result), or any other `Result<(), E>` whose error can
/// become one of a `Result`: `std::io::Error`, [`Exit`], `String` and all types with
/// `std::error::Error + Send + Sync`.
///
/// Attributes below this one are for the worker, such as one that traces a call; documentation,
/// conditions and lints are for all of it.
///
/// An `async fn` needs the feature `tokio`, and no attribute of tokio's: the runtime is made in the
/// daemon, after the forks.
///
#[cfg_attr(feature = "tokio", doc = "```no_run")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use daemonocle::{Context, Result, Signal};
/// use std::time::Duration;
///
/// #[derive(clap::Args)]
/// struct Options {
///     /// Where to listen.
///     #[arg(long, default_value_t = 7777)]
///     port: u16,
/// }
///
/// /// Greets whoever connects.
/// #[daemonocle::main(
///     name = "example",
///     pid_file = std::env::temp_dir().join("example.pid"),
///     ready_timeout = Duration::from_secs(5),
///     end_on = [Signal::INT, Signal::TERM],
///     on_shutdown = |end| eprintln!("{end}"),
/// )]
/// async fn main(ctx: Context, options: Options) -> Result {
///     let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port)).await?;
///     ctx.ready();
///     loop {
///         let (client, _) = listener.accept().await?;
///         client.try_write(b"Hello!\n")?;
///     }
/// }
/// ```
///
/// # Errors
///
/// What is wrong with an argument or with the function is said by the compiler where it is written.
#[cfg(feature = "macros")]
pub use daemonocle_macros::main;

/// Compiles the README's examples; all features together have everything they use.
#[cfg(all(doctest, feature = "cli", feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles what docs/MIGRATING.md has of ours.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../MIGRATING.md")]
struct Migrating;
