//! Reloads when its configuration file changes; one that makes no sense changes nothing.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use daemonocle::{Context, Daemon, Result};

#[derive(clap::Args)]
struct Options {
    /// The file to be watched: one line, a word to be written to the log.
    #[arg(long, value_name = "PATH", default_value_os_t = temporary("file_watcher.conf"))]
    config: PathBuf,
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

fn main() -> ExitCode {
    Daemon::new("file_watcher")
        .about("Reloads when its configuration file changes.")
        .pid_file(temporary("file_watcher.pid"))
        .stdout_file(temporary("file_watcher.log"))
        .work_dir(".") // as for a command, a relative path is taken from where `start` is run
        .on_shutdown(|end| log(&end.to_string()))
        .run_with(watch)
}

fn watch(ctx: &Context, Options { config }: Options) -> Result {
    let word = fs::read_to_string(&config).map_err(|error| format!("{config:?}: {error}"))?;
    let word = word.trim_end();
    if word.is_empty() || word.contains(char::is_whitespace) {
        return Err(format!("{config:?}: {word:?} is not one word").into()); // and the old one stays
    }
    let mut seen = changed(&config);
    let shutdown = ctx.shutdown();
    ctx.ready();
    log(word);
    while !shutdown.wait_timeout(Duration::from_secs(1)) {
        let now = changed(&config);
        if now != seen {
            seen = now;
            if let Err(error) = ctx.reload() {
                log(&format!("still {word}: {error}"));
            }
        }
    }
    Ok(())
}

/// When the file was changed; `None`: it is gone.
fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|meta| meta.modified()).ok()
}

fn log(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}
