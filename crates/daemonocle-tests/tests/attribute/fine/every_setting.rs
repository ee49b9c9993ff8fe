//! All that can be set, by values of many kinds.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

use std::path::PathBuf;
use std::time::Duration;

use daemonocle::{Daemon, Detach, End, Layout, Result, Signal};

const LOG: &str = "/var/log/example.log";

#[daemonocle::main(
    crate = ::daemonocle,
    name = format!("example-{}", 3),
    multi = 4,
    about = "Does something.",
    pid_file = std::env::temp_dir().join("example.pid"),
    layout = Layout::prefix("/opt"),
    detach = Detach::Never,
    work_dir = {
        let root = "/";
        PathBuf::from(root)
    },
    stdout_file = LOG,
    stderr_file = LOG,
    chroot_dir = "/",
    user = 0,
    group = "root",
    umask = 0o027,
    close_open_files,
    allow_core_dumps,
    reload_on_hup,
    stop_timeout = Duration::from_secs(1),
    start_timeout = Duration::from_secs(2),
    ready_timeout = Duration::from_secs(3),
    end_on = [Signal::TERM, Signal::INT],
    on_start = prepare,
    action("look", "Looks.", |daemon| daemon.status().map(drop).map_err(Into::into)),
    action("look-again", "Looks once more.", look),
    action_with("wait", wait),
    on_shutdown = |end: &End| drop(end.to_string()),
)]
fn main() {}

fn prepare() -> Result {
    Ok(())
}

fn look(daemon: &Daemon) -> Result {
    daemon.status()?;
    Ok(())
}

#[derive(clap::Args)]
struct Wait {
    /// How long.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
}

fn wait(_: &Daemon, options: Wait) -> Result {
    std::thread::sleep(Duration::from_secs(options.seconds));
    Ok(())
}
