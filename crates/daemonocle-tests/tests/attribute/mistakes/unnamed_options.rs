//! Options of any type.

use daemonocle::Context;

#[daemonocle::main]
fn main(_: &Context, _: impl clap::Args) {}
