//! Where the files of a daemon go, by convention.

#![forbid(unsafe_code)]

use std::env;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::sys::fs::{Last, Trusted, resolve};
use crate::sys::user;

/// Where the PID file and the output files of a daemon go, by convention.
///
/// A file that the definition names itself goes where that says; the others go where the layout puts
/// them. Directories are made as for any such file. `{name}` is the daemon's name, which must be one
/// that a file can have.
///
/// | layout | PID file | standard output and error |
/// |---|---|---|
/// | `prefix("/opt")` | `/var/opt/{name}/run/{name}.pid` | `/var/opt/{name}/log/out.log`, `…/err.log` |
/// | `prefix("/usr/local")` | `/var/local/run/{name}/{name}.pid` | `/var/local/log/{name}/out.log`, … |
/// | `prefix("/usr")` | `/var/run/{name}/{name}.pid` | `/var/log/{name}/out.log`, … |
/// | `prefix(other)` | `other/run/{name}.pid` | `other/log/out.log`, … |
/// | `user()` | `$XDG_RUNTIME_DIR/{name}/{name}.pid` | `$XDG_STATE_HOME/{name}/out.log`, … |
///
/// ```
/// use daemonocle::{Daemon, Layout};
/// let config = Daemon::new("example").layout(Layout::prefix("/opt").log_prefix("web-")).check()?;
/// let path = |text| Some(std::path::Path::new(text));
/// assert_eq!(config.pid_file(), path("/var/opt/example/run/example.pid"));
/// assert_eq!(config.stdout_file(), path("/var/opt/example/log/web-out.log"));
/// assert_eq!(config.stderr_file(), path("/var/opt/example/log/web-err.log"));
/// # Ok::<(), daemonocle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    base: Base,
    log_prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Base {
    Prefix(PathBuf),
    User,
}

/// What a layout has to say about one daemon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) pid: PathBuf,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
}

impl Layout {
    /// For a program installed below `prefix`: `/opt`, `/usr/local`, `/usr`, whose variable files the
    /// Filesystem Hierarchy Standard (version 3.0, chapter 5) has elsewhere, or any other directory,
    /// which has them itself. If this is the working directory too, it need not exist: the start
    /// makes it.
    #[must_use]
    pub fn prefix(prefix: impl Into<PathBuf>) -> Self {
        Self { base: Base::Prefix(prefix.into()), log_prefix: String::new() }
    }

    /// For a daemon of an ordinary user, by the XDG Base Directory Specification (version 0.8).
    ///
    /// Without `XDG_RUNTIME_DIR` in the environment, as in a job of cron(8), it is `/run/user/UID` if
    /// that exists; without `XDG_STATE_HOME`, it is `$HOME/.local/state`. Neither may be relative. The
    /// environment is the one in which an action is called, also for a daemon that changes its user.
    ///
    /// ```
    /// # // SAFETY: the example has one thread.
    /// # unsafe { std::env::set_var("XDG_STATE_HOME", "/home/me/.local/state") };
    /// # unsafe { std::env::set_var("XDG_RUNTIME_DIR", "/run/user/1000") };
    /// use daemonocle::{Daemon, Layout};
    /// let config = Daemon::new("example").layout(Layout::user()).check()?;
    /// let path = |text| Some(std::path::Path::new(text));
    /// assert_eq!(config.pid_file(), path("/run/user/1000/example/example.pid"));
    /// assert_eq!(config.stdout_file(), path("/home/me/.local/state/example/out.log"));
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn user() -> Self {
        Self { base: Base::User, log_prefix: String::new() }
    }

    /// What the names of the output files begin with. Default: nothing.
    #[must_use]
    pub fn log_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.log_prefix = prefix.into();
        self
    }

    /// Changes what it has been told.
    pub(crate) fn change(
        &mut self,
        prefix: impl FnOnce(&Path) -> Result<PathBuf, Error>,
        log_prefix: impl FnOnce(&str) -> Result<String, Error>,
    ) -> Result<(), Error> {
        if let Base::Prefix(path) = &mut self.base {
            *path = prefix(path)?;
        }
        self.log_prefix = log_prefix(&self.log_prefix)?;
        Ok(())
    }

    /// The directory that the layout is about, if it is one that the program itself has.
    pub(crate) fn own_dir(&self) -> Option<&Path> {
        match &self.base {
            Base::Prefix(prefix) => Some(prefix),
            Base::User => None,
        }
    }

    pub(crate) fn files(&self, name: &str, trusted: Trusted) -> Result<Files, Error> {
        if name.contains('/') || name == "." || name == ".." {
            return Err(Error::definition(format!("name {name:?} cannot be that of a file")));
        }
        let file = |what: &str| format!("{}{what}.log", self.log_prefix);
        let files = |pid: PathBuf, log: PathBuf| Files {
            pid: pid.join(format!("{name}.pid")),
            stdout: log.join(file("out")),
            stderr: log.join(file("err")),
        };
        let (run, log) = match &self.base {
            Base::User => (runtime_dir()?.join(name), state_dir()?.join(name)),
            Base::Prefix(prefix) => {
                let prefix = absolute(prefix)?;
                let place = resolve(Path::new("/"), &prefix, Last::Follow, trusted)
                    .map_err(|error| Error::definition(format!("prefix {error}")))?;
                match place.to_str() {
                    Some("/opt") => {
                        let var = Path::new("/var/opt").join(name);
                        (var.join("run"), var.join("log"))
                    }
                    Some("/usr/local") => (
                        Path::new("/var/local/run").join(name),
                        Path::new("/var/local/log").join(name),
                    ),
                    Some("/usr") => {
                        (Path::new("/var/run").join(name), Path::new("/var/log").join(name))
                    }
                    // As it was given: the links on the way are looked at with the whole path.
                    _ => (prefix.join("run"), prefix.join("log")),
                }
            }
        };
        Ok(files(run, log))
    }
}

fn absolute(prefix: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(prefix).map_err(|error| Error::system(format!("prefix {prefix:?}"), error))
}

/// An absolute path from the environment; any other one is to be ignored, the specification says.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn runtime_dir() -> Result<PathBuf, Error> {
    if let Some(dir) = variable("XDG_RUNTIME_DIR") {
        return Ok(dir);
    }
    let dir = PathBuf::from(format!("/run/user/{}", user::effective()));
    match dir.is_dir() {
        true => Ok(dir),
        false => Err(Error::definition(format!(
            "there is no directory for the PID file: XDG_RUNTIME_DIR is not set, and {dir:?} does not exist"
        ))),
    }
}

fn state_dir() -> Result<PathBuf, Error> {
    variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state"))).ok_or_else(
        || {
            let message =
                "there is no directory for the output: neither XDG_STATE_HOME nor HOME is set";
            Error::definition(message)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_lead_where_the_original_has_them() -> Result<(), Error> {
        for (prefix, pid, out) in [
            ("/opt", "/var/opt/foo/run/foo.pid", "/var/opt/foo/log/x-out.log"),
            ("/opt/", "/var/opt/foo/run/foo.pid", "/var/opt/foo/log/x-out.log"),
            ("/usr/local", "/var/local/run/foo/foo.pid", "/var/local/log/foo/x-out.log"),
            ("/usr", "/var/run/foo/foo.pid", "/var/log/foo/x-out.log"),
            ("/usr/local/..", "/var/run/foo/foo.pid", "/var/log/foo/x-out.log"),
            ("/srv/foo", "/srv/foo/run/foo.pid", "/srv/foo/log/x-out.log"),
        ] {
            let layout = Layout::prefix(prefix).log_prefix("x-");
            let files = layout.files("foo", Trusted::new(None))?;
            assert_eq!(files.pid, Path::new(pid), "{prefix}");
            assert_eq!(files.stdout, Path::new(out), "{prefix}");
        }
        Ok(())
    }

    #[test]
    fn a_name_that_no_file_can_have_is_refused() {
        for name in ["a/b", "/", ".", ".."] {
            assert!(Layout::prefix("/opt").files(name, Trusted::new(None)).is_err(), "{name}");
        }
    }
}
