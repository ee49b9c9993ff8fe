//! Options that clap does not know.

use daemonocle::Context;

struct Options;

#[daemonocle::main]
async fn main(_: Context, _: Options) {}
