//! The shortest way to a daemon: `main` is the worker, and everything else is in an attribute.

use std::time::Duration;

use daemonocle::{Context, Result};

#[derive(clap::Args)]
struct Options {
    /// Seconds between two looks.
    #[arg(long, default_value_t = 10)]
    every: u64,
}

/// Watches that the temporary directory is there, and gives up when it is not.
///
/// What is written above `main` is the help text: the first paragraph for `-h` and on top of the list
/// of commands, all of it for `--help`.
#[daemonocle::main(
    name = "attribute",
    pid_file = std::env::temp_dir().join("attribute.pid"),
    ready_timeout = Duration::from_secs(5)
)]
fn main(ctx: &Context, options: Options) -> Result {
    let shutdown = ctx.shutdown();
    let directory = std::env::temp_dir().canonicalize()?; // an error here makes `start` fail
    ctx.ready();
    while !shutdown.wait_timeout(Duration::from_secs(options.every)) {
        directory.metadata()?;
    }
    Ok(())
}
