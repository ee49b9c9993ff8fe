//! Generic functions.

use daemonocle::Context;

#[daemonocle::main]
fn main<'a, T: clap::Args>(_: &'a Context, _: T) where T: Clone {}
