//! Options, taken to pieces, and a mutable binding.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

use daemonocle::{Context, Result};

#[derive(clap::Args)]
struct Options {
    /// Where to listen.
    #[arg(long)]
    port: Vec<u16>,
}

#[daemonocle::main]
fn main(ctx: &Context, Options { mut port }: Options) -> Result {
    port.sort();
    ctx.ready();
    drop(port);
    Ok(())
}
