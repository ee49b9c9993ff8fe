//! The definition of a daemon: what the builder collected, checked and resolved.

#![forbid(unsafe_code)]

mod settings;
mod template;
mod workers;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::sys::fs::{Inode, Trusted};
use crate::sys::user;

pub(crate) use settings::Settings;

/// Whether the daemon leaves the terminal.
///
/// ```
/// use daemonocle::Detach;
/// assert_eq!(Detach::default(), Detach::Auto);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detach {
    /// Detach, unless there is nothing to detach from: the program is PID 1, was started by PID 1
    /// outside a container (by systemd, say), or its standard input is a socket (inetd). systemd
    /// announces with `PIDFILE` in the environment that it wants a unit of `Type=forking` to
    /// detach all the same (systemd.exec(5)).
    #[default]
    Auto,
    /// Detach whatever the circumstances.
    Always,
    /// Stay in the foreground, as `--debug` makes it.
    Never,
}

/// When a new daemon counts as started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Startup {
    /// At its `ready()`, or when it has lived this long.
    Alive(Duration),
    /// At its `ready()`, which must come within this time.
    Ready(Duration),
}

/// Where a PID file is, from outside any chroot, its directory free of symbolic links.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    pub(crate) dir: PathBuf,
    pub(crate) name: OsString,
    pub(crate) path: PathBuf,
    /// Whether it is that of a daemon with another root directory.
    pub(crate) is_below_root: bool,
    pub(crate) trusted: Trusted,
}

impl Location {
    pub(crate) fn cannot(&self, what: &str, error: io::Error) -> Error {
        Error::system(format!("cannot {what} PID file {:?}", self.path), error)
    }
}

/// How long a start waits for others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the outcome of another start of the same daemon.
    pub(crate) for_start: Duration,
    /// For the end of a daemon that is about to end.
    pub(crate) for_end: Duration,
}

impl Patience {
    /// What is left of it after this time.
    pub(crate) const fn after(self, time: Duration) -> Self {
        Self {
            for_start: self.for_start.saturating_sub(time),
            for_end: self.for_end.saturating_sub(time),
        }
    }
}

/// The user to become.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// The definition of a daemon, checked: names looked up, paths absolute and resolved.
///
/// [`Daemon::check`](crate::Daemon::check) makes it, and a worker gets it from
/// [`Context::definition`](crate::Context::definition).
///
/// ```
/// let config = daemonocle::Daemon::new("example").work_dir("/usr/../tmp").check()?;
/// assert_eq!(config.name(), "example");
/// assert_eq!(config.work_dir(), std::path::Path::new("/tmp"));
/// assert_eq!(config.pid_file(), None);
/// assert_eq!(config.stdout_file(), None);
/// assert_eq!(config.stderr_file(), None);
/// assert_eq!(config.chroot_dir(), None);
/// assert_eq!(config.stop_timeout(), std::time::Duration::from_secs(10));
/// # Ok::<(), daemonocle::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    settings: Settings,
    pub(crate) location: Option<Location>,
    pub(crate) identity: Option<Identity>,
    work_dir: PathBuf,
    /// Whether it is missing, and the start is to make it.
    pub(crate) makes_work_dir: bool,
    stdout_file: Option<PathBuf>,
    stderr_file: Option<PathBuf>,
    chroot_dir: Option<PathBuf>,
    /// Which directory that is.
    pub(crate) root: Option<Inode>,
}

impl Config {
    /// The daemon's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The PID file, as a process outside the chroot directory sees it.
    #[must_use]
    pub fn pid_file(&self) -> Option<&Path> {
        self.location.as_ref().map(|location| location.path.as_path())
    }

    /// The working directory, as the worker sees it.
    #[must_use]
    pub fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// The file that standard output goes to, as the worker sees it.
    #[must_use]
    pub fn stdout_file(&self) -> Option<&Path> {
        self.stdout_file.as_deref()
    }

    /// The file that standard error goes to, as the worker sees it.
    #[must_use]
    pub fn stderr_file(&self) -> Option<&Path> {
        self.stderr_file.as_deref()
    }

    /// The directory that becomes the root directory.
    #[must_use]
    pub fn chroot_dir(&self) -> Option<&Path> {
        self.chroot_dir.as_deref()
    }

    /// How long `stop` waits for the end: what a worker that was asked to end may take for it.
    #[must_use]
    pub const fn stop_timeout(&self) -> Duration {
        self.settings.stop_timeout
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who owns what is made for the daemon: user and group number.
    pub(crate) fn owner(&self) -> (u32, u32) {
        match &self.identity {
            Some(identity) => (identity.uid, identity.gid),
            None => (user::effective(), user::effective_group()),
        }
    }

    /// How long a start waits for others.
    pub(crate) const fn patience(&self) -> Patience {
        let for_start = self.settings.longest_start();
        Patience { for_start, for_end: self.settings.stop_timeout }
    }
}
