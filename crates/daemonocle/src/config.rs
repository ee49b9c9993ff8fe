//! The definition of a daemon: what the builder collected, checked and resolved.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, reason};
use crate::sys::fs::{Last, PathError, Trusted, is_possible, resolve, split};
use crate::sys::signal::Signal;
use crate::sys::user;

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

impl Startup {
    pub(crate) const fn limit(self) -> Duration {
        match self {
            Self::Alive(limit) | Self::Ready(limit) => limit,
        }
    }
}

/// What the builder has been told, unchecked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) about: Option<String>,
    pub(crate) detach: Detach,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) work_dir: PathBuf,
    pub(crate) stdout_file: Option<PathBuf>,
    pub(crate) stderr_file: Option<PathBuf>,
    pub(crate) chroot_dir: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) umask: u32,
    pub(crate) close_open_files: bool,
    pub(crate) core_dumps: bool,
    pub(crate) stop_timeout: Duration,
    pub(crate) startup: Startup,
    pub(crate) end_on: Vec<Signal>,
}

impl Settings {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            about: None,
            detach: Detach::Auto,
            pid_file: None,
            work_dir: PathBuf::from("/"),
            stdout_file: None,
            stderr_file: None,
            chroot_dir: None,
            user: None,
            group: None,
            umask: 0o022,
            close_open_files: false,
            core_dumps: false,
            stop_timeout: Duration::from_secs(10),
            startup: Startup::Alive(Duration::from_secs(1)),
            end_on: vec![Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM],
        }
    }

    /// Where the running daemon is to be found: all that `stop` and `status` need, so that they
    /// work although the working directory, say, has gone since.
    pub(crate) fn locate(&self) -> Result<Location, Error> {
        check_name(&self.name)?;
        let trusted = Trusted::new(self.identity().ok().flatten().map(|who| (who.uid, who.gid)));
        self.locate_for(trusted)?.ok_or_else(|| {
            let name = &self.name;
            Error::definition(format!("{name} has no PID file, without which it cannot be found"))
        })
    }

    fn locate_for(&self, trusted: Trusted) -> Result<Option<Location>, Error> {
        let Some(path) = &self.pid_file else {
            return Ok(None);
        };
        let root = self.root(trusted)?;
        let path = self.outside(&root, "PID file", path, Last::Keep, trusted)?;
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                return Err(Error::definition(format!("PID file {path:?} is a directory")));
            }
            // Whatever else it is, or is not, shows when it is opened.
            _ => {}
        }
        match split(&path) {
            Some((dir, name)) => Ok(Some(Location {
                dir: dir.to_path_buf(),
                name: name.to_owned(),
                path: path.clone(),
                trusted,
            })),
            None => Err(Error::definition(format!("PID file {path:?} is not the path of a file"))),
        }
    }

    /// Checks everything that can be known before a process is made.
    pub(crate) fn validate(&self) -> Result<Config, Error> {
        check_name(&self.name)?;
        if self.umask > 0o777 {
            let umask = self.umask;
            return Err(Error::definition(format!("umask {umask:#o} is not between 0 and 0o777")));
        }
        let identity = self.identity()?;
        let trusted = Trusted::new(identity.as_ref().map(|who| (who.uid, who.gid)));
        let root = self.root(trusted)?;
        let work_dir =
            self.outside(&root, "working directory", &self.work_dir, Last::Follow, trusted)?;
        check_dir("working directory", &work_dir)?;
        let output = |what: &str, path: &Option<PathBuf>| match path {
            None => Ok(None),
            Some(path) => {
                let path = self.outside(&root, what, path, Last::Follow, trusted)?;
                if path.is_dir() {
                    return Err(Error::definition(format!("{what} {path:?} is a directory")));
                }
                Ok(Some(inside(&root, &path)))
            }
        };
        Ok(Config {
            location: self.locate_for(trusted)?,
            work_dir: inside(&root, &work_dir),
            stdout_file: output("standard output file", &self.stdout_file)?,
            stderr_file: output("standard error file", &self.stderr_file)?,
            chroot_dir: self.chroot_dir.is_some().then_some(root),
            identity,
            settings: self.clone(),
        })
    }

    /// The directory that all paths are below: the one to chroot to, or `/`.
    fn root(&self, trusted: Trusted) -> Result<PathBuf, Error> {
        match &self.chroot_dir {
            None => Ok(PathBuf::from("/")),
            Some(path) => {
                let path = absolute("chroot directory", path)?;
                let root = resolve(Path::new("/"), &path, Last::Follow, trusted)
                    .map_err(|error| at("chroot directory", &path, &error))?;
                check_dir("chroot directory", &root)?;
                Ok(root)
            }
        }
    }

    /// The path of `path` as seen from outside the chroot directory.
    fn outside(
        &self,
        root: &Path,
        what: &str,
        path: &Path,
        last: Last,
        trusted: Trusted,
    ) -> Result<PathBuf, Error> {
        let absolute = match &self.chroot_dir {
            // There, every path starts at the directory, with a leading slash or without.
            Some(_) if is_possible(path) => path.to_path_buf(),
            _ => absolute(what, path)?,
        };
        resolve(root, &absolute, last, trusted).map_err(|error| at(what, path, &error))
    }

    fn identity(&self) -> Result<Option<Identity>, Error> {
        if self.user.is_none() && self.group.is_none() {
            return Ok(None);
        }
        let account = match &self.user {
            Some(user) => find_user(user)?,
            None => Found::at(user::effective())?,
        };
        let gid = match (&self.group, &account.account) {
            (Some(group), _) => find_group(group)?,
            (None, Some(account)) => account.gid,
            (None, None) => {
                let uid = account.uid;
                return Err(Error::definition(format!(
                    "user {uid} is not in the user database, so a group must be given too"
                )));
            }
        };
        let groups = match &account.account {
            Some(account) => user::groups_of(&account.name, gid).map_err(|error| {
                Error::system(format!("groups of user {}", account.name), error)
            })?,
            None => vec![gid],
        };
        Ok(Some(Identity { uid: account.uid, gid, groups }))
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::definition(format!(
            "name {name:?} must be one line of text, and not empty"
        )));
    }
    Ok(())
}

fn check_dir(what: &str, path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(Error::definition(format!("{what} {path:?}: Not a directory"))),
        Err(error) => Err(Error::definition(format!("{what} {path:?}: {}", reason(&error)))),
    }
}

fn absolute(what: &str, path: &Path) -> Result<PathBuf, Error> {
    if !is_possible(path) {
        return Err(Error::definition(format!("{what} {path:?} is not a path")));
    }
    std::path::absolute(path).map_err(|error| Error::system(format!("{what} {path:?}"), error))
}

fn at(what: &str, path: &Path, error: &PathError) -> Error {
    if error.path == path {
        Error::definition(format!("{what} {error}"))
    } else {
        Error::definition(format!("{what} {path:?}: {error}"))
    }
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    Path::new("/").join(path.strip_prefix(root).unwrap_or(path))
}

struct Found {
    uid: u32,
    account: Option<user::Account>,
}

impl Found {
    fn at(uid: u32) -> Result<Self, Error> {
        let account =
            user::by_id(uid).map_err(|error| Error::system(format!("user {uid}"), error))?;
        Ok(Self { uid, account })
    }
}

/// By name first, as chown(1) does: POSIX allows names made of digits.
fn find_user(text: &str) -> Result<Found, Error> {
    let by_name = user::by_name(text).map_err(|e| Error::system(format!("user {text:?}"), e))?;
    match (by_name, number(text)) {
        (Some(account), _) => Ok(Found { uid: account.uid, account: Some(account) }),
        (None, Some(uid)) => Found::at(uid),
        (None, None) => Err(Error::definition(format!("user {text:?} does not exist"))),
    }
}

fn find_group(text: &str) -> Result<u32, Error> {
    let by_name =
        user::group_by_name(text).map_err(|e| Error::system(format!("group {text:?}"), e))?;
    by_name
        .or_else(|| number(text))
        .ok_or_else(|| Error::definition(format!("group {text:?} does not exist")))
}

/// A user or group number. The largest one means "unchanged" to setresuid(2) and is none.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

/// Where a PID file is, from outside any chroot, its directory free of symbolic links.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    pub(crate) dir: PathBuf,
    pub(crate) name: OsString,
    pub(crate) path: PathBuf,
    pub(crate) trusted: Trusted,
}

impl Location {
    pub(crate) fn cannot(&self, what: &str, error: io::Error) -> Error {
        Error::system(format!("cannot {what} PID file {:?}", self.path), error)
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
/// # Ok::<(), daemonocle::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    settings: Settings,
    pub(crate) location: Option<Location>,
    pub(crate) identity: Option<Identity>,
    work_dir: PathBuf,
    stdout_file: Option<PathBuf>,
    stderr_file: Option<PathBuf>,
    chroot_dir: Option<PathBuf>,
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

    /// How long to wait for somebody else's start of the same daemon: as long as one may take that
    /// succeeds at the last moment, or fails then and has to be cleared away.
    pub(crate) const fn patience(&self) -> Duration {
        self.settings.startup.limit().saturating_add(self.settings.stop_timeout)
    }
}
