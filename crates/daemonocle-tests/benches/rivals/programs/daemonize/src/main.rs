//! A daemon by the crate daemonize.

#[path = "../../job.rs"]
mod job;

fn main() {
    match daemonize::Daemonize::new().pid_file(job::pid_file()).start() {
        Ok(()) => job::serve(),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
