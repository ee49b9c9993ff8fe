//! The library alone, without the command line and its dependencies: `start` and `stop`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // The library prints nothing; we do.

use std::process::ExitCode;

use daemonocle::{Daemon, Error, Outcome, Start, Stop};

fn main() -> ExitCode {
    let daemon =
        Daemon::new("library").pid_file(std::env::temp_dir().join("library.pid")).worker(|ctx| {
            ctx.ready();
            ctx.shutdown().wait();
            Ok(())
        });
    match act(&daemon, std::env::args().nth(1).as_deref()) {
        Ok(Some(outcome)) => {
            println!("{outcome:?}");
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("usage: library start|stop");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn act(daemon: &Daemon, action: Option<&str>) -> Result<Option<Outcome>, Error> {
    match action {
        Some("start") => daemon.start(&Start::default()).map(Some),
        Some("stop") => daemon.stop(&Stop::default()).map(Some),
        _ => Ok(None),
    }
}
