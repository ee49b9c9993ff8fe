//! An asynchronous daemon by the attribute. Its files are in `$ATTRIBUTE_DIR`.

use std::io::Error;
use std::path::PathBuf;

use daemonocle::Context;

#[derive(clap::Args)]
struct Options {
    /// A file to read, which must be there.
    #[arg(long)]
    file: PathBuf,
}

#[daemonocle::main(
    name = "example",
    pid_file = PathBuf::from(std::env::var_os("ATTRIBUTE_DIR").unwrap_or_default()).join("example.pid")
)]
async fn main(ctx: Context, options: Options) -> Result<(), Error> {
    std::fs::read(options.file)?;
    let shutdown = ctx.shutdown();
    ctx.ready();
    shutdown.requested().await;
    Ok(())
}
