//! Tells its PID to whoever connects: `start` returns when the port is open, or says why it cannot.

use std::io::ErrorKind::{ConnectionAborted, WouldBlock};
use std::io::Write;
use std::net::TcpListener;
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
        .run_with(serve)
}

fn serve(ctx: &Context, Options { port }: Options) -> Result {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    // A client may be gone again between poll and accept.
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
