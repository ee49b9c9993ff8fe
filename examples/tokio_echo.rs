//! Sends everything back, with tokio: the runtime is made in the daemon, after the forks.

use std::process::ExitCode;

use daemonocle::{Context, Daemon, Result};
use tokio::io;
use tokio::net::TcpListener;

fn main() -> ExitCode {
    Daemon::new("tokio_echo")
        .about("Sends everything back.")
        .pid_file(std::env::temp_dir().join("tokio_echo.pid"))
        .run_async(serve)
}

async fn serve(ctx: Context) -> Result {
    let port = port()?;
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

/// The port in the environment variable `PORT`, or 7777.
fn port() -> Result<u16> {
    match std::env::var("PORT") {
        Ok(text) => text.parse().map_err(|error| format!("PORT={text}: {error}").into()),
        Err(_) => Ok(7777),
    }
}
