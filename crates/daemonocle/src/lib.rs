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
//! - `serde`: [`Status`], [`Details`], [`Value`] and [`Field`] implement `serde::Serialize`.
//! - `tokio`: asynchronous workers, `Daemon::run_async` and its like.
//!
//! # Limitations
//!
//! Linux only, 5.10 or later. A process that has more than one thread cannot start a daemon: make
//! threads and runtimes inside the worker. `std::process::exit` in the worker runs the shutdown hook
//! with glibc only; abort(3), a crash and SIGKILL run it nowhere.

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
mod handover;
mod layout;
mod pid_file;
mod shutdown;
mod startup;
mod sys;
mod worker;

pub use action::{Details, DetailsIter, Field, Outcome, Start, Status, Stop, UnknownField, Value};
pub use config::{Config, Detach};
pub use context::Context;
pub use daemon::Daemon;
pub use error::{Error, Exit, Result};
pub use layout::Layout;
pub use shutdown::{End, Shutdown};
pub use sys::process::Pid;
pub use sys::signal::Signal;
pub use worker::Exec;

/// Compiles the README's examples; all features together have everything they use.
#[cfg(all(doctest, feature = "cli", feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
