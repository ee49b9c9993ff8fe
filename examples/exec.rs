//! Another program as the daemon: a shell script that counts, and knows nothing of daemons.

use std::io::Write;
use std::process::ExitCode;

use daemonocle::{Daemon, Exec};

const SCRIPT: &str = "
    n=0
    while n=$((n + 1)); do
        echo \"$NOUN number $n, by process $$\"
        sleep 10
    done
";

fn main() -> ExitCode {
    let directory = std::env::temp_dir();
    Daemon::new("exec")
        .about("Counts in a log file.")
        .pid_file(directory.join("exec.pid"))
        .stdout_file(directory.join("exec.log"))
        .on_shutdown(|end| {
            let _ = writeln!(std::io::stdout(), "{end}");
        })
        .run_exec(Exec::new("sh").args(["-c", SCRIPT]).env("NOUN", "Sheep"))
}
