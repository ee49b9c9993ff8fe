//! Asynchronous, with options and an error of another kind.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

use daemonocle::Context;

#[derive(clap::Args)]
struct Options {
    /// Where to listen.
    #[arg(long)]
    port: u16,
}

#[daemonocle::main]
async fn main(ctx: Context, options: Options) -> Result<(), std::io::Error> {
    drop((ctx, options.port));
    Ok(())
}
