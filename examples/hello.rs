//! The smallest daemon: it sleeps, and then sleeps again.

use std::process::ExitCode;
use std::time::Duration;

use daemonocle::Daemon;

fn main() -> ExitCode {
    Daemon::new("hello")
        .about("Sleeps in the background, and then sleeps again.")
        .pid_file(std::env::temp_dir().join("hello.pid"))
        .run(|_| {
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        })
}
