//! What the builder has been told, and how it becomes a checked definition.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, reason};
use crate::layout::{Files, Layout};
use crate::sys::fs::{Last, PathError, Trusted, inode_of, is_possible, resolve, split};
use crate::sys::rerun::{Rerunner, rerun};
use crate::sys::signal::Signal;
use crate::sys::user;

use super::{Config, Detach, Identity, Location, Startup};

/// Code for something that few definitions have, set together with it: into a program that never
/// asks for it, it is not linked.
#[derive(Clone, Copy)]
pub(crate) struct OnDemand<F>(F);

impl<F> fmt::Debug for OnDemand<F> {
    /// As nothing: an address would be another one in every run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

/// What the builder has been told, unchecked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// Which one of many it is.
    pub(crate) worker: Option<u32>,
    pub(crate) about: Option<String>,
    /// What is wrong with the name of an action.
    pub(crate) objection: Option<String>,
    pub(crate) detach: Detach,
    pub(super) layout: Option<(Layout, OnDemand<LayOut>)>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) work_dir: PathBuf,
    pub(crate) stdout_file: Option<PathBuf>,
    pub(crate) stderr_file: Option<PathBuf>,
    pub(crate) chroot_dir: Option<PathBuf>,
    user: Option<String>,
    group: Option<String>,
    identify: Option<OnDemand<Identify>>,
    pub(crate) umask: u32,
    pub(crate) close_open_files: bool,
    pub(crate) core_dumps: bool,
    pub(crate) stop_timeout: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) startup: Startup,
    pub(crate) end_on: Vec<Signal>,
    reload_on_hup: Option<OnDemand<Rerunner>>,
}

pub(super) type LayOut = fn(&Layout, &str, Trusted) -> Result<Files, Error>;
type Identify = fn(&Settings) -> Result<Identity, Error>;

impl Settings {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            worker: None,
            about: None,
            objection: None,
            detach: Detach::Auto,
            layout: None,
            pid_file: None,
            work_dir: PathBuf::from("/"),
            stdout_file: None,
            stderr_file: None,
            chroot_dir: None,
            user: None,
            group: None,
            identify: None,
            umask: 0o022,
            close_open_files: false,
            core_dumps: false,
            stop_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(90),
            startup: Startup::Alive(Duration::from_secs(1)),
            reload_on_hup: None,
            end_on: vec![Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM],
        }
    }

    pub(crate) fn set_layout(&mut self, layout: Layout) {
        self.layout = Some((layout, OnDemand(Layout::files)));
    }

    pub(crate) fn set_user(&mut self, user: String) {
        self.user = Some(user);
        self.identify = Some(OnDemand(Self::find_identity));
    }

    pub(crate) fn set_group(&mut self, group: String) {
        self.group = Some(group);
        self.identify = Some(OnDemand(Self::find_identity));
    }

    /// Reloads when HUP comes.
    pub(crate) fn set_reload_on_hup(&mut self) {
        self.reload_on_hup = Some(OnDemand(rerun));
    }

    /// What a reload that HUP asks for takes, if HUP does.
    pub(crate) fn on_hup(&self) -> Option<Rerunner> {
        self.reload_on_hup.map(|OnDemand(rerun)| rerun)
    }

    /// As long as a start may take that succeeds at the last moment, or fails then and has to be
    /// cleared away.
    pub(crate) const fn longest_start(&self) -> Duration {
        let start = match self.startup {
            Startup::Alive(limit) => self.start_timeout.saturating_add(limit),
            Startup::Ready(limit) => limit,
        };
        start.saturating_add(self.stop_timeout)
    }

    /// Where the running daemon is to be found: all that `stop` and `status` need, so that they
    /// work although the working directory, say, has gone since.
    pub(crate) fn locate(&self) -> Result<Location, Error> {
        self.check_words()?;
        let trusted = Trusted::new(self.identity().ok().flatten().map(|who| (who.uid, who.gid)));
        self.laid_out(trusted)?.locate_for(trusted)?.ok_or_else(|| {
            let name = &self.name;
            Error::definition(format!("{name} has no PID file, without which it cannot be found"))
        })
    }

    /// Checks the names of the daemon and of its actions.
    pub(crate) fn check_words(&self) -> Result<(), Error> {
        let name = &self.name;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Error::definition(format!(
                "name {name:?} must be one line of text, and not empty"
            )));
        }
        self.objection.as_ref().map_or(Ok(()), |text| Err(Error::definition(text)))
    }

    /// With the files that the layout has for those that have not been named.
    fn laid_out(&self, trusted: Trusted) -> Result<Self, Error> {
        let mut settings = self.clone();
        if let Some((layout, OnDemand(files_of))) = &self.layout {
            let files = files_of(layout, &self.name, trusted)?;
            settings.pid_file.get_or_insert(files.pid);
            settings.stdout_file.get_or_insert(files.stdout);
            settings.stderr_file.get_or_insert(files.stderr);
        }
        Ok(settings)
    }

    fn locate_for(&self, trusted: Trusted) -> Result<Option<Location>, Error> {
        let Some(path) = &self.pid_file else {
            return Ok(None);
        };
        if path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(Error::definition(format!("PID file {path:?} is not the path of a file")));
        }
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
                is_below_root: self.chroot_dir.is_some(),
                trusted,
            })),
            None => Err(Error::definition(format!("PID file {path:?} is not the path of a file"))),
        }
    }

    /// Checks everything that can be known before a process is made.
    pub(crate) fn validate(&self) -> Result<Config, Error> {
        self.check_words()?;
        if self.umask > 0o777 {
            let umask = self.umask;
            return Err(Error::definition(format!("umask {umask:#o} is not between 0 and 0o777")));
        }
        if self.startup == Startup::Ready(Duration::ZERO) {
            let message = "ready_timeout is zero, in which nothing can become ready";
            return Err(Error::definition(message));
        }
        if let Some(signal) = self.end_on.iter().find(|signal| !signal.can_be_handled()) {
            return Err(Error::definition(format!("end_on: {signal} cannot be handled")));
        }
        let identity = self.identity()?;
        let trusted = Trusted::new(identity.as_ref().map(|who| (who.uid, who.gid)));
        self.laid_out(trusted)?.validate_for(identity, trusted)
    }

    fn validate_for(self, identity: Option<Identity>, trusted: Trusted) -> Result<Config, Error> {
        let root = self.root(trusted)?;
        let dir = |path| self.outside(&root, "working directory", path, Last::Follow, trusted);
        let work_dir = dir(&self.work_dir)?;
        let own_dir = self.layout.as_ref().and_then(|(layout, _)| layout.own_dir());
        let own_dir = own_dir.map(dir).transpose()?;
        let makes_work_dir = own_dir.is_some_and(|own| own == work_dir) && !work_dir.exists();
        if !makes_work_dir {
            check_dir("working directory", &work_dir)?;
        }
        let location = self.locate_for(trusted)?;
        let output = |what: &str, path: &Option<PathBuf>| match path {
            None => Ok(None),
            Some(path) => {
                let path = self.outside(&root, what, path, Last::Follow, trusted)?;
                if path.is_dir() {
                    return Err(Error::definition(format!("{what} {path:?} is a directory")));
                }
                if location.as_ref().is_some_and(|location| location.path == path) {
                    return Err(Error::definition(format!("{what} {path:?} is the PID file")));
                }
                Ok(Some(inside(&root, &path)))
            }
        };
        let stdout_file = output("standard output file", &self.stdout_file)?;
        let stderr_file = output("standard error file", &self.stderr_file)?;
        Ok(Config {
            location,
            work_dir: inside(&root, &work_dir),
            makes_work_dir,
            stdout_file,
            stderr_file,
            root: self.chroot_dir.as_ref().and_then(|_| inode_of(&root)),
            chroot_dir: self.chroot_dir.is_some().then_some(root),
            identity,
            settings: self,
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

    /// The user to become, if a user or a group has been named.
    fn identity(&self) -> Result<Option<Identity>, Error> {
        self.identify.map(|OnDemand(find)| find(self)).transpose()
    }

    fn find_identity(&self) -> Result<Identity, Error> {
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
        Ok(Identity { uid: account.uid, gid, groups })
    }
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
    if path.is_absolute() {
        return Ok(path.to_path_buf());
    }
    let here = std::env::current_dir();
    here.map(|here| here.join(path)).map_err(|e| Error::system(format!("{what} {path:?}"), e))
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
