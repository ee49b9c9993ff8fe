//! Writes to a log file when it starts, every ten seconds, and when and why it stops.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemonocle::Daemon;

fn main() -> ExitCode {
    let directory = std::env::temp_dir();
    Daemon::new("logging")
        .about("Keeps a log file.")
        .pid_file(directory.join("logging.pid"))
        .stdout_file(directory.join("logging.log"))
        .on_shutdown(|end| {
            log("Daemon is stopping");
            log(end);
        })
        .run(|ctx| {
            let shutdown = ctx.shutdown();
            log("Daemon is starting");
            ctx.ready();
            loop {
                log("Still running");
                if shutdown.wait_timeout(Duration::from_secs(10)) {
                    return Ok(());
                }
            }
        })
}

/// Writes a line, after the seconds since 1970, to standard output: the log file, or in the
/// foreground the terminal.
fn log(text: impl Display) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let _ = writeln!(io::stdout(), "{:.3} {text}", now.as_secs_f64());
}
