//! A daemon by daemonocle, with its command line.

use std::process::ExitCode;

use daemonocle::Daemon;

#[path = "../../job.rs"]
mod job;

fn main() -> ExitCode {
    Daemon::new("job").pid_file(job::pid_file()).run(|ctx| {
        job::set_up()?;
        ctx.ready();
        ctx.shutdown().wait();
        Ok(())
    })
}
