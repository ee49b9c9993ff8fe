//! What a daemon does: a closure, an asynchronous one, or another program.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::context::Context;
use crate::error::{Error, Exit, Result, reason};
use crate::sys::process::Pid;
use crate::sys::program::{Group, spawn_bound};

/// Runs once, in the daemon, after everything has been set up.
pub(crate) enum Worker {
    Function(Box<dyn FnOnce(&Context) -> Result + Send>),
    Program(Exec),
}

/// Another program as the worker: its name or path, arguments and environment.
///
/// The daemon *is* that program: its PID is the one in the PID file, and `status` tells of it. It need
/// not know anything of daemons, and may close every descriptor it finds: a small process, its keeper,
/// holds the PID file's locks, waits for the end of the program, runs the shutdown hook and removes the
/// file. Should somebody kill the keeper, the kernel kills the program (`PR_SET_PDEATHSIG`, prctl(2)).
///
/// A name without a slash is looked for in `PATH` as execvp(3) does, in the environment that the program
/// gets and inside the chroot directory; a relative path with a slash is taken from the working directory of
/// whoever starts the daemon, or in a chroot from its root.
///
/// ```no_run
/// use daemonocle::{Daemon, Exec};
/// fn main() -> std::process::ExitCode {
///     Daemon::new("web")
///         .pid_file("/run/web.pid")
///         .run_exec(Exec::new("python3").args(["-m", "http.server"]).env("PYTHONUNBUFFERED", "1"))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Exec {
    /// [`spawn`](Self::spawn). Only by way of this, so that who has no such worker does not carry what it
    /// takes to run one.
    spawn: fn(&Self, Group) -> io::Result<Pid>,
    program: OsString,
    args: Vec<OsString>,
    is_env_clear: bool,
    /// In the order in which they were asked for; `None` takes one away.
    env: Vec<(OsString, Option<OsString>)>,
}

impl Exec {
    /// The program with this name or path, without arguments, in the environment of whoever starts the
    /// daemon.
    ///
    /// ```
    /// let exec = daemonocle::Exec::new("/usr/bin/sleep").arg("600");
    /// # let _ = exec;
    /// ```
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        let (program, spawn) = (program.into(), Self::spawn);
        Self { spawn, program, args: Vec::new(), is_env_clear: false, env: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), Some(value.into())));
        self
    }

    /// Takes a variable out of the environment.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.push((name.into(), None));
        self
    }

    /// Starts from an empty environment; what [`env`](Self::env) sets, before or after, is all there is.
    #[must_use]
    pub const fn env_clear(mut self) -> Self {
        self.is_env_clear = true;
        self
    }

    /// What the help says of it if nobody has said anything else.
    #[cfg(feature = "cli")]
    pub(crate) fn about(&self) -> String {
        format!("Run {:?} as a daemon.", self.program)
    }

    /// Refuses what cannot be handed to any program.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str, text: &OsStr, why: &str| {
            Err(Error::definition(format!("{what} {text:?} {why}")))
        };
        if self.program.is_empty() {
            return wrong("program", &self.program, "must not be empty");
        }
        let values = self.env.iter().filter_map(|(_, value)| value.as_ref());
        let mut texts = [("program", &self.program)]
            .into_iter()
            .chain(self.args.iter().map(|arg| ("argument", arg)))
            .chain(values.map(|value| ("value of an environment variable", value)));
        if let Some((what, text)) = texts.find(|(_, text)| text.as_bytes().contains(&0)) {
            return wrong(what, text, "must not contain a zero byte");
        }
        for (name, _) in &self.env {
            if name.is_empty() || name.as_bytes().iter().any(|byte| matches!(byte, 0 | b'=')) {
                let why = "must not be empty, or contain an equals sign or a zero byte";
                return wrong("name of an environment variable", name, why);
            }
        }
        Ok(())
    }

    /// Makes a relative path absolute, while the working directory still is the caller's; in a chroot
    /// paths begin at its root.
    pub(crate) fn resolve(&mut self, is_in_chroot: bool) -> Result<(), Error> {
        let path = Path::new(&self.program);
        if path.is_absolute() || !self.program.as_bytes().contains(&b'/') {
            return Ok(());
        }
        let base = match is_in_chroot {
            true => Ok("/".into()),
            false => std::env::current_dir(),
        };
        let base = base.map_err(|error| {
            Error::system(format!("cannot find program {path:?} from here"), error)
        })?;
        self.program = base.join(path).into();
        Ok(())
    }

    /// Runs it as a child that does not outlive this process.
    pub(crate) fn run(&self, group: Group) -> io::Result<Pid> {
        (self.spawn)(self, group)
    }

    fn spawn(&self, group: Group) -> io::Result<Pid> {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        if self.is_env_clear {
            command.env_clear();
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if group == Group::Own {
            command.process_group(0);
        }
        spawn_bound(command)
    }

    /// Why it could not be run, with the exit code that a shell has for that.
    pub(crate) fn failure(&self, error: &io::Error) -> Exit {
        let program = &self.program;
        let is_there = || Path::new(program).exists();
        let is_name = !program.as_bytes().contains(&b'/');
        let (code, why) = match error.kind() {
            io::ErrorKind::NotFound if is_name => (127, "not found in PATH".to_owned()),
            // Said too of a directory that may not be entered, whatever is in it.
            io::ErrorKind::PermissionDenied if is_name && !self.is_in_path() => {
                (127, "not found in PATH".to_owned())
            }
            io::ErrorKind::NotFound if is_there() => {
                (126, "the interpreter that it names was not found".to_owned())
            }
            io::ErrorKind::NotFound => (127, "not found".to_owned()),
            io::ErrorKind::PermissionDenied => (126, "not executable".to_owned()),
            _ => (126, reason(error)),
        };
        Exit { code, message: Some(format!("cannot run program {program:?}: {why}")) }
    }

    /// Whether there is a file of this name in a directory of `PATH` that may be looked into.
    fn is_in_path(&self) -> bool {
        /// Where execvp(3) looks without a `PATH`, with whichever C library.
        const DEFAULT: &str = "/usr/local/bin:/bin:/usr/bin";
        let path = self.path().unwrap_or_else(|| DEFAULT.into());
        std::env::split_paths(&path).any(|dir| dir.join(&self.program).exists())
    }

    /// The `PATH` that the program gets.
    fn path(&self) -> Option<OsString> {
        match self.env.iter().rfind(|(name, _)| name == "PATH") {
            Some((_, value)) => value.clone(),
            None if self.is_env_clear => None,
            None => std::env::var_os("PATH"),
        }
    }
}

/// Runs an asynchronous worker: a multi-thread tokio runtime is built in the daemon, where it
/// belongs, and ends with the worker.
#[cfg(feature = "tokio")]
pub(crate) fn block_on(worker: impl Future<Output = Result>) -> Result {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(worker);
    // Tasks that block must not keep the daemon from ending.
    runtime.shutdown_background();
    result
}
