//! A daemon by the crate dmon, whose parent waits for what the worker says.

#[path = "../../job.rs"]
mod job;

fn main() {
    let mut parent = dmon::options().pidfile(Some(job::pid_file())).daemonize();
    let told = match job::set_up() {
        Ok(()) => parent.success(),
        Err(why) => {
            let _ = parent.notify(&why);
            std::process::exit(1);
        }
    };
    match told {
        Ok(()) => job::forever(),
        Err(_) => std::process::exit(1),
    }
}
