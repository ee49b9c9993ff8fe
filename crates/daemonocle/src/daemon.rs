//! The definition's face: a builder, and the actions on what it describes.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::action::{self, Event, Hooks, Outcome, Start, Status, Stop, Subject};
use crate::config::{Config, Detach, Settings, Startup};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::shutdown::End;
use crate::sys::signal::Signal;

/// The definition of a daemon, and what can be done with it.
///
/// ```no_run
/// use daemonocle::Daemon;
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     Daemon::new("example")
///         .pid_file("/run/example.pid")
///         .on_shutdown(|end| eprintln!("{end}"))
///         .run(|ctx| {
///             ctx.ready();
///             ctx.shutdown().wait();
///             Ok(())
///         })
/// }
/// ```
pub struct Daemon {
    settings: Settings,
    subject: Subject,
}

impl Default for Daemon {
    /// A daemon named after the program's file.
    fn default() -> Self {
        let program = std::env::args_os().next().map(PathBuf::from);
        let name = program.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
        Self::new(name.as_deref().unwrap_or("daemon"))
    }
}

impl Daemon {
    /// A daemon with this name, which is for messages: one line of text.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            settings: Settings::new(name.into()),
            subject: Subject {
                worker: Mutex::new(None),
                hooks: Mutex::new(Hooks { start: None, shutdown: None }),
            },
        }
    }

    /// What the daemon does, for the head of the help text.
    #[must_use]
    pub fn about(mut self, text: impl Into<String>) -> Self {
        self.settings.about = Some(text.into());
        self
    }

    /// The PID file, without which there is no `stop` and no `status`. Default: none.
    ///
    /// A directory that is missing is made, with the umask, and given to the daemon's user.
    #[must_use]
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.pid_file = Some(path.into());
        self
    }

    /// Whether to leave the terminal. Default: [`Detach::Auto`].
    #[must_use]
    pub fn detach(mut self, detach: Detach) -> Self {
        self.settings.detach = detach;
        self
    }

    /// The working directory, which must exist. Default: `/`.
    #[must_use]
    pub fn work_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.work_dir = path.into();
        self
    }

    /// A file to append standard output to, unless in the foreground. Default: the null device.
    #[must_use]
    pub fn stdout_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.stdout_file = Some(path.into());
        self
    }

    /// A file to append standard error to, unless in the foreground; it may be the one of standard
    /// output. Default: the null device, but what is written before the start has succeeded goes
    /// to the terminal if it fails.
    #[must_use]
    pub fn stderr_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.stderr_file = Some(path.into());
        self
    }

    /// A directory to make the root directory, chroot(2). All other paths are then relative to it,
    /// with a leading slash or without. Needs root. Default: none.
    #[must_use]
    pub fn chroot_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.chroot_dir = Some(path.into());
        self
    }

    /// The user to become, by name or number; with the supplementary groups of the user database,
    /// and that user's group unless [`group`](Self::group) names another. Needs root. Default:
    /// whoever starts the daemon.
    #[must_use]
    pub fn user(mut self, user: impl ToString) -> Self {
        self.settings.user = Some(user.to_string());
        self
    }

    /// The group to become a member of, by name or number. Needs root. Default: the user's.
    #[must_use]
    pub fn group(mut self, group: impl ToString) -> Self {
        self.settings.group = Some(group.to_string());
        self
    }

    /// The file mode creation mask, umask(2). Default: `0o022`.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.settings.umask = mask;
        self
    }

    /// Closes all descriptors above standard error, except the library's own. Default: they stay.
    #[must_use]
    pub fn close_open_files(mut self) -> Self {
        self.settings.close_open_files = true;
        self
    }

    /// Leaves the limit on core dumps alone. Default: it is set to 0, because a core dump of a
    /// privileged process may tell its secrets.
    #[must_use]
    pub fn allow_core_dumps(mut self) -> Self {
        self.settings.core_dumps = true;
        self
    }

    /// How long `stop` waits for the end. Default: 10 seconds.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stop_timeout = timeout;
        self
    }

    /// Makes [`Context::ready`] mandatory: a worker that has not called it within this time, set-up
    /// included, is ended, and the start has failed. Default: alive for one second is enough.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.settings.startup = Startup::Ready(timeout);
        self
    }

    /// The signals that ask the daemon to end. Default: HUP, INT, QUIT and TERM.
    ///
    /// Leave out what the worker handles itself; `stop` always sends TERM.
    #[must_use]
    pub fn end_on(mut self, signals: &[Signal]) -> Self {
        self.settings.end_on = signals.to_vec();
        self
    }

    /// Called in the daemon just before the worker; an error makes the start fail. Default:
    /// nothing.
    #[must_use]
    pub fn on_start(self, hook: impl FnOnce() -> Result + Send + 'static) -> Self {
        self.hooks().start = Some(Box::new(hook));
        self
    }

    /// Called once when the daemon ends in any way that can be caught, with the reason. It may run
    /// in another thread than the worker. Default: nothing.
    #[must_use]
    pub fn on_shutdown(self, hook: impl FnOnce(&End) + Send + 'static) -> Self {
        self.hooks().shutdown = Some(Box::new(hook));
        self
    }

    /// What the daemon does; for those who do not call [`run`](Self::run), which sets it too.
    #[must_use]
    pub fn worker(self, worker: impl FnOnce(&Context) -> Result + Send + 'static) -> Self {
        *self.subject.worker.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Box::new(worker));
        self
    }

    /// What the daemon does, asynchronously: a tokio runtime with all its threads is made in the
    /// daemon.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn async_worker<F>(self, worker: F) -> Self
    where
        F: AsyncFnOnce(Context) -> Result + Send + 'static,
    {
        self.worker(move |context| crate::worker::block_on(worker(context.clone())))
    }

    fn hooks(&self) -> std::sync::MutexGuard<'_, Hooks> {
        self.subject.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(feature = "cli")]
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Checks the definition without doing anything.
    ///
    /// # Errors
    ///
    /// Says what is wrong: a directory that is missing, a user that does not exist, a PID file
    /// that is a directory, …
    pub fn check(&self) -> Result<Config, Error> {
        self.settings.validate()
    }

    /// Starts the daemon, and returns when it has started, or in the foreground when it has ended.
    ///
    /// In the new process this does not return: it runs the worker and exits.
    ///
    /// # Errors
    ///
    /// The daemon is not running then, and nothing is left of it. [`Error::exit_code`] is the
    /// worker's, if it was the worker that ended.
    pub fn start(&self, how: &Start) -> Result<Outcome, Error> {
        self.start_telling(how, &mut |_| {})
    }

    pub(crate) fn start_telling(
        &self,
        how: &Start,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, Error> {
        action::start(&self.settings, &self.subject, *how, events)
    }

    /// Asks the daemon to end and waits until it has.
    ///
    /// # Errors
    ///
    /// Whenever it is not certain that it has ended: time-out, lack of permission, a PID file that
    /// is held by somebody who cannot be identified. Nothing but the daemon is ever signalled.
    pub fn stop(&self, how: &Stop) -> Result<Outcome, Error> {
        self.stop_telling(how, &mut |_| {})
    }

    pub(crate) fn stop_telling(
        &self,
        how: &Stop,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, Error> {
        action::stop(&self.settings, *how, events)
    }

    /// Stops the daemon if it is running, and starts it.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop), after which nothing is started, and of
    /// [`start`](Self::start).
    pub fn restart(&self, stop: &Stop, start: &Start) -> Result<Outcome, Error> {
        self.restart_telling(stop, start, &mut |_| {})
    }

    pub(crate) fn restart_telling(
        &self,
        stop: &Stop,
        start: &Start,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, Error> {
        action::restart(&self.settings, &self.subject, *stop, *start, events)
    }

    /// The state of the daemon; `None` when it is not running. Takes a tenth of a second, the time
    /// over which the use of the processor is measured, and changes nothing.
    ///
    /// # Errors
    ///
    /// The PID file cannot be read, or is held by somebody who cannot be identified.
    pub fn status(&self) -> Result<Option<Status>, Error> {
        self.status_telling(&mut |_| {})
    }

    pub(crate) fn status_telling(
        &self,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Status>, Error> {
        action::status(&self.settings, events)
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("settings", &self.settings).finish_non_exhaustive()
    }
}
