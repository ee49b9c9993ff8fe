//! A daemon with an action of its own, which has an option.

use std::io::{Write, stdout};
use std::process::ExitCode;

use daemonocle::{Daemon, Exit, Field, Result, Value};

/// Get more detailed status of the daemon.
#[derive(clap::Args)]
struct FullStatus {
    /// How many lines to show at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    lines: usize,
}

fn main() -> ExitCode {
    Daemon::new("custom_action")
        .about("Has a command of its own.")
        .pid_file(std::env::temp_dir().join("custom_action.pid"))
        .action_with("full_status", full_status)
        .run(|ctx| {
            ctx.ready();
            ctx.shutdown().wait();
            Ok(())
        })
}

fn full_status(daemon: &Daemon, options: FullStatus) -> Result {
    let mut out = stdout().lock();
    let fields = [Field::Pid, Field::Exe, Field::Username, Field::NumThreads, Field::NumFds];
    let Some(details) = daemon.status_of(&fields)? else {
        writeln!(out, "custom_action -- not running")?;
        return Err(Exit::with_code(1).into()); // we have said it ourselves
    };
    for field in fields.into_iter().take(options.lines) {
        match details.get(field) {
            Some(Value::Integer(number)) => writeln!(out, "{field}: {number}")?,
            Some(Value::Text(text)) => writeln!(out, "{field}: {text}")?,
            _ => writeln!(out, "{field}: unknown")?,
        }
    }
    Ok(())
}
