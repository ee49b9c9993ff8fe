//! The command line: arguments in, text and exit code out.

#![forbid(unsafe_code)]

mod args;
mod render;
mod run;

pub use args::{Action, Format, NoOptions};
