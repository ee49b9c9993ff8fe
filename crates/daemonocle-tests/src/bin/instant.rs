//! A daemon that is ready at once and does nothing: what `start` and `stop` themselves cost. The
//! PID file is `$INSTANT_PID_FILE`.

use std::process::ExitCode;

use daemonocle::Daemon;

fn main() -> ExitCode {
    let pid_file = std::env::var_os("INSTANT_PID_FILE").unwrap_or_default();
    Daemon::new("instant").pid_file(pid_file).run(|ctx| {
        ctx.ready();
        ctx.shutdown().wait();
        Ok(())
    })
}
