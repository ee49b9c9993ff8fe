//! Options that somebody else would have to own.

use daemonocle::Context;

#[derive(clap::Args)]
struct Options {}

#[daemonocle::main]
fn main(_: &Context, _: &Options) {}
