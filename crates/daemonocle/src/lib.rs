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
//! See [`Daemon`] for everything that can be defined, and [`Context`] for what the worker sees.

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
mod pid_file;
mod shutdown;
mod startup;
mod sys;
mod worker;

pub use action::{Outcome, Start, Status, Stop};
pub use config::{Config, Detach};
pub use context::Context;
pub use daemon::Daemon;
pub use error::{Error, Exit, Result};
pub use shutdown::{End, Shutdown};
pub use sys::process::Pid;
pub use sys::signal::Signal;

/// Compiles the README's examples; all features together have everything they use.
#[cfg(all(doctest, feature = "cli", feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
