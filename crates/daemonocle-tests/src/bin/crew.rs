//! Many workers that are ready at once, for measurements: `CREW` of them, with their PID files in
//! `CREW_DIR`. The one with the number 1 takes `CREW_SLOW` milliseconds for its end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use daemonocle::{Context, Daemon, Multi, Result};

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let dir = PathBuf::from(std::env::var_os("CREW_DIR").unwrap_or_default());
    let slow = number("CREW_SLOW").unwrap_or_default();
    let daemon = Daemon::new("worker_{n}").pid_file(dir.join("{n}.pid"));
    Multi::new(number("CREW").unwrap_or_default(), daemon).run(move |ctx| work(ctx, slow))
}

fn work(ctx: &Context, slow: u32) -> Result {
    let shutdown = ctx.shutdown();
    ctx.ready();
    shutdown.wait();
    if ctx.worker_id() == Some(1) {
        std::thread::sleep(Duration::from_millis(slow.into()));
    }
    Ok(())
}
