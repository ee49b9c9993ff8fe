//! The context is not the first parameter.

#[derive(clap::Args)]
struct Options {}

#[daemonocle::main]
fn main(_: Options) {}
