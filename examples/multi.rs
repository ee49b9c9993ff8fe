//! Four daemons as one: each answers to its own number, on a socket of its own.

use std::io::ErrorKind::{ConnectionAborted, WouldBlock};
use std::io::Write;
use std::process::ExitCode;

use daemonocle::{Context, Daemon, Multi, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

fn main() -> ExitCode {
    let daemon = Daemon::new("worker_{n}")
        .about("Tells its number to whoever connects.")
        .pid_file(std::env::temp_dir().join("worker_{n:04}.pid"));
    Multi::new(4, daemon).run(serve)
}

fn serve(ctx: &Context) -> Result {
    let number = ctx.worker_id().unwrap_or_default();
    let path = std::env::temp_dir().join(format!("worker_{number:04}.sock"));
    let listener = ctx.listener("number", path)?;
    listener.set_nonblocking(true)?;
    let shutdown = ctx.shutdown();
    ctx.ready();
    while !shutdown.is_requested() {
        let mut fds =
            [PollFd::new(&listener, PollFlags::IN), PollFd::new(&shutdown, PollFlags::IN)];
        retry_on_intr(|| poll(&mut fds, None))?;
        match listener.accept() {
            Ok((mut client, _)) => drop(writeln!(client, "{number}")),
            Err(error) if matches!(error.kind(), WouldBlock | ConnectionAborted) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
