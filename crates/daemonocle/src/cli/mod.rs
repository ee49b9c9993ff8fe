//! The command line: arguments in, text and exit code out.
//!
//! [`Daemon::run`](crate::Daemon::run) and its like are all that most programs need. A program with
//! other commands too flattens [`Action`] into its own, and hands it to
//! [`Daemon::act`](crate::Daemon::act), or to [`Daemon::act_with`](crate::Daemon::act_with) if the worker
//! has options. One that is made by clap's builder, or has actions registered on the definition, calls
//! [`Daemon::commands`](crate::Daemon::commands) and [`Daemon::act_on`](crate::Daemon::act_on).

#![forbid(unsafe_code)]

mod answer;
mod args;
#[cfg(feature = "tokio")]
mod asynchronous;
mod custom;
mod json;
mod multi;
mod render;
mod run;

pub use args::{Action, Format, NoOptions};
pub use multi::MultiAction;
