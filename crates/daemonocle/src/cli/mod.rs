//! The command line: arguments in, text and exit code out.
//!
//! [`Daemon::run`](crate::Daemon::run) and its like are all that most programs need. A program with
//! other commands too flattens [`Action`] into its own, and hands it to
//! [`Daemon::act`](crate::Daemon::act).

#![forbid(unsafe_code)]

mod args;
mod json;
mod render;
mod run;

pub use args::{Action, Format, NoOptions};
