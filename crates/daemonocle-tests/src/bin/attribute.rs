//! A daemon by the attribute, with all that a worker can have. Its files are in `$ATTRIBUTE_DIR`.

use std::io::Write;
use std::path::PathBuf;

use daemonocle::{Context, End, Exit, Result};

#[derive(clap::Args)]
struct Options {
    /// What to write.
    #[arg(long)]
    word: String,
    /// Fail with this exit code.
    #[arg(long)]
    fail: Option<u8>,
}

/// Writes a word,
/// and waits.
///
/// - It has a list
///   of one item.
#[daemonocle::main(
    name = "example",
    pid_file = path("example.pid"),
    stdout_file = path("out"),
    umask = 0o077,
    on_start = || {
        write("begin");
        Ok(())
    },
    action("out", "Tell what has been written.", |_| {
        write(std::fs::read_to_string(path("out"))?.trim_end());
        Ok(())
    }),
    on_shutdown = |end: &End| write(&end.to_string()),
)]
fn main(ctx: &Context, options: Options) -> Result {
    if options.word == "unspeakable" {
        return Err("it cannot be said".into());
    }
    if let Some(code) = options.fail {
        return Err(Exit::with_code(code).into());
    }
    write(&options.word);
    let shutdown = ctx.shutdown();
    ctx.ready();
    shutdown.wait();
    Ok(())
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("ATTRIBUTE_DIR").unwrap_or_default()).join(name)
}

fn write(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
