//! Sends everything back, with tokio: the runtime is made in the daemon, after the forks.

use std::process::ExitCode;

use daemonocle::{Context, Daemon, Result};
use tokio::io;
use tokio::net::TcpListener;

#[derive(clap::Args)]
struct Options {
    /// The TCP port to listen on, at 127.0.0.1.
    #[arg(long)]
    port: u16,
}

fn main() -> ExitCode {
    Daemon::new("tokio_echo")
        .about("Sends everything back.")
        .pid_file(std::env::temp_dir().join("tokio_echo.pid"))
        .run_async_with(serve)
}

async fn serve(ctx: Context, Options { port }: Options) -> Result {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let shutdown = ctx.shutdown();
    ctx.ready();
    loop {
        tokio::select! {
            client = listener.accept() => {
                let (mut client, _) = client?;
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    io::copy(&mut from, &mut to).await
                });
            }
            () = shutdown.requested() => return Ok(()),
        }
    }
}
