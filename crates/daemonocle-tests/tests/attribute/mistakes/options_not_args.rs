//! Options that clap does not know.

use daemonocle::Context;

struct Options;

#[daemonocle::main]
fn main(_: &Context, _: Options) {}
