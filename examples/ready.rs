//! Tells its PID to whoever connects: `start` returns when the port is open, or says why it cannot. On HUP
//! it reloads, and nobody who connects meanwhile is turned away.

use std::io::ErrorKind::{ConnectionAborted, WouldBlock};
use std::io::Write;
use std::process::ExitCode;

use daemonocle::{Context, Daemon, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

#[derive(clap::Args)]
struct Options {
    /// The TCP port to listen on, at 127.0.0.1.
    #[arg(long)]
    port: u16,
}

fn main() -> ExitCode {
    Daemon::new("ready")
        .about("Tells its PID to whoever connects.")
        .pid_file(std::env::temp_dir().join("ready.pid"))
        .reload_on_hup()
        .run_with(serve)
}

fn serve(ctx: &Context, Options { port }: Options) -> Result {
    let listener = ctx.listener("pid", ("127.0.0.1", port))?;
    // A client may be gone again between poll and accept, or with the other one during a reload.
    listener.set_nonblocking(true)?;
    let shutdown = ctx.shutdown();
    ctx.ready();
    while !shutdown.is_requested() {
        let mut fds =
            [PollFd::new(&listener, PollFlags::IN), PollFd::new(&shutdown, PollFlags::IN)];
        // A signal interrupts it; the handle is readable a moment later.
        retry_on_intr(|| poll(&mut fds, None))?;
        match listener.accept() {
            Ok((mut client, _)) => drop(writeln!(client, "{}", std::process::id())),
            Err(error) if matches!(error.kind(), WouldBlock | ConnectionAborted) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
