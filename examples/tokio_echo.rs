//! Sends everything back, with tokio: the runtime is made in the daemon, after the forks. On HUP it
//! reloads: the new process serves whoever connects, the old one those that it has.

use std::process::ExitCode;

use daemonocle::{Context, Daemon, Result};
use tokio::io;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

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
        .reload_on_hup()
        .run_async_with(serve)
}

async fn serve(ctx: Context, Options { port }: Options) -> Result {
    let listener = ctx.listener("echo", ("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let shutdown = ctx.shutdown();
    let mut clients = JoinSet::new();
    ctx.ready();
    loop {
        tokio::select! {
            client = listener.accept() => {
                let (mut client, _) = client?;
                clients.spawn(async move {
                    let (mut from, mut to) = client.split();
                    io::copy(&mut from, &mut to).await
                });
            }
            Some(_) = clients.join_next() => {} // one has gone
            () = shutdown.requested() => break,
        }
    }
    drop(listener);
    // Those who are still here may finish, but not keep `stop` waiting until it gives up.
    let _ = timeout(ctx.definition().stop_timeout() / 2, clients.join_all()).await;
    Ok(())
}
