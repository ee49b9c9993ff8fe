//! A larger program: the commands of a daemon beside another one, and an option for all of them.

use std::fs;
use std::io::{self, Read, Write, stderr, stdout};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use daemonocle::cli::Action;
use daemonocle::{Context, Daemon, Result};

/// Greets people, by a daemon that knows how.
#[derive(Parser)]
struct Arguments {
    /// The socket of the daemon; its PID file is beside it.
    #[arg(long, global = true, value_name = "PATH", default_value_os_t = default_socket())]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Daemon(Action<Options>), // start, stop, restart, status
    /// Have somebody greeted by the daemon.
    Greet { name: String },
}

/// What `start` and `restart` take for the worker.
#[derive(clap::Args)]
struct Options {
    /// How to greet.
    #[arg(long, default_value = "Hello")]
    greeting: String,
}

fn default_socket() -> PathBuf {
    std::env::temp_dir().join("clap_app.sock")
}

fn main() -> ExitCode {
    let Arguments { socket, command } = Arguments::parse();
    match command {
        Command::Daemon(action) => start_or_so(socket, action),
        Command::Greet { name } => match greet(&socket, &name) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(stderr(), "no greeting from {socket:?}: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn start_or_so(socket: PathBuf, action: Action<Options>) -> ExitCode {
    // The daemon has another working directory.
    let socket = std::path::absolute(&socket).unwrap_or(socket);
    let at_the_end = socket.clone();
    Daemon::new("clap_app")
        .pid_file(socket.with_extension("pid"))
        .on_shutdown(move |_| drop(fs::remove_file(at_the_end)))
        .act_with(action, move |ctx, options| serve(ctx, &socket, &options))
}

/// Answers every name with a greeting.
fn serve(ctx: &Context, socket: &Path, Options { greeting }: &Options) -> Result {
    // What a killed daemon has left; there is no other one with our PID file.
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    ctx.ready();
    for client in listener.incoming() {
        let mut client = client?;
        let mut name = String::new();
        // A client that goes away is no reason to end.
        let _ =
            client.read_to_string(&mut name).and_then(|_| write!(client, "{greeting}, {name}!"));
    }
    Ok(())
}

fn greet(socket: &Path, name: &str) -> io::Result<()> {
    let mut daemon = UnixStream::connect(socket)?;
    daemon.write_all(name.as_bytes())?;
    daemon.shutdown(Shutdown::Write)?;
    let greeting = io::read_to_string(daemon)?;
    writeln!(stdout(), "{greeting}")
}
