//! A daemon by daemonocle without its command line.

use std::process::ExitCode;

use daemonocle::{Daemon, Start, Stop};

#[path = "../../job.rs"]
mod job;

fn main() -> ExitCode {
    let daemon = Daemon::new("job").pid_file(job::pid_file()).worker(|ctx| {
        job::set_up()?;
        ctx.ready();
        ctx.shutdown().wait();
        Ok(())
    });
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("start") => daemon.start(&Start::default()),
        _ => daemon.stop(&Stop::default()),
    };
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}
