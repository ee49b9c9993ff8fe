//! A daemon by the crate fork, which has no PID files: the worker writes its own.

use std::process::exit;

#[path = "../../job.rs"]
mod job;

fn main() {
    match fork::daemon(false, false) {
        Ok(fork::Fork::Child) => {
            if std::fs::write(job::pid_file(), format!("{}\n", std::process::id())).is_err() {
                exit(1);
            }
            job::serve()
        }
        Ok(fork::Fork::Parent(_)) => {}
        Err(error) => {
            eprintln!("{error}");
            exit(1);
        }
    }
}
