//! The definition's face: a builder, and the actions on what it describes.

#![forbid(unsafe_code)]

mod actions;
mod callbacks;
mod custom;
#[cfg(feature = "cli")]
mod options;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::action::{self, Event, Hooks, Outcome, Subject};
use crate::config::{Detach, Settings, Startup};
use crate::error::Error;
use crate::layout::Layout;
use crate::sys::signal::Signal;

#[cfg(feature = "cli")]
pub(crate) use custom::Perform;
use custom::{Custom, RELOAD, taken};
#[cfg(feature = "cli")]
pub(crate) use options::{Bound, Run, defaults};

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
    /// Shared by the workers of a `Multi`.
    subject: Arc<Subject>,
    /// In their order.
    customs: Vec<Custom>,
    /// What the action `reload` does, where there is one.
    reload: Option<Reload>,
}

/// Only by way of this, so that a program without the action does not carry what it takes.
pub(crate) type Reload = fn(&Settings, &mut dyn FnMut(Event<'_>)) -> Result<Outcome, Error>;

impl Default for Daemon {
    /// A daemon named after the program's file, or `daemon` if the program was told none.
    fn default() -> Self {
        Self::new(program_name().unwrap_or_else(|| "daemon".into()))
    }
}

/// The name of the program's file, if the program was told one.
pub(crate) fn program_name() -> Option<String> {
    let program = PathBuf::from(std::env::args_os().next()?);
    Some(program.file_name()?.to_string_lossy().into_owned())
}

impl Daemon {
    /// A daemon with this name, which is for messages: one line of text, and not empty, or every action
    /// fails.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// assert!(Daemon::new("example").check().is_ok());
    /// assert!(Daemon::new("two\nlines").check().is_err());
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            settings: Settings::new(name.into()),
            subject: Arc::new(Subject {
                worker: Mutex::new(None),
                hooks: Mutex::new(Hooks { start: None, shutdown: None }),
            }),
            customs: Vec::new(),
            reload: None,
        }
    }

    /// What the daemon does, for the head of the help text: the first paragraph for `-h`, and all of it
    /// for `--help`. Default: nothing is said.
    ///
    /// ```no_run
    /// # use daemonocle::Daemon;
    /// # fn main() -> std::process::ExitCode {
    /// Daemon::new("example").about("Pretends to do work in the background.").run(|_| Ok(()))
    /// # }
    /// ```
    #[must_use]
    pub fn about(mut self, text: impl Into<String>) -> Self {
        self.settings.about = Some(text.into());
        self
    }

    /// The PID file, without which there is no `stop` and no `status`, and no limit to one daemon.
    /// Default: none.
    ///
    /// A relative path is taken from the working directory of the moment in which it is used. A directory
    /// that is missing is made, with the umask, and given to the daemon's user. The file gets the mode
    /// 0644 without the umask. It must be a regular one, with one name, that nobody but root, the
    /// caller and the daemon's user can have made or can exchange, or the start fails.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let path = std::env::temp_dir().join("example.pid");
    /// let config = Daemon::new("example").pid_file(&path).check()?;
    /// assert_eq!(config.pid_file(), Some(path.as_path()));
    ///
    /// let error = Daemon::new("example").pid_file("/tmp").check().unwrap_err();
    /// assert_eq!(error.to_string(), "PID file \"/tmp\" is a directory");
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.pid_file = Some(path.into());
        self
    }

    /// Where the PID file and the output files go unless they are named: see [`Layout`]. Default: no
    /// files but those that are named.
    ///
    /// ```
    /// use daemonocle::{Daemon, Layout};
    /// let config = Daemon::new("example").layout(Layout::prefix("/opt")).check()?;
    /// let path = std::path::Path::new("/var/opt/example/run/example.pid");
    /// assert_eq!(config.pid_file(), Some(path));
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.settings.set_layout(layout);
        self
    }

    /// Whether to leave the terminal: fork(2) twice, with setsid(2) between. Default: [`Detach::Auto`].
    ///
    /// ```
    /// use daemonocle::{Daemon, Detach};
    /// let in_a_container = Daemon::new("example").detach(Detach::Never);
    /// # in_a_container.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn detach(mut self, detach: Detach) -> Self {
        self.settings.detach = detach;
        self
    }

    /// The working directory, which must exist and be one that the daemon's user may enter, chdir(2).
    /// Default: `/`.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let error = Daemon::new("example").work_dir("/no/such").check().unwrap_err();
    /// assert_eq!(error.to_string(), "working directory \"/no/such\": No such file or directory");
    /// ```
    #[must_use]
    pub fn work_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.work_dir = path.into();
        self
    }

    /// A file to append standard output to, unless in the foreground. Default: the null device.
    ///
    /// It is made if it is missing, with the mode 0666 without the umask, and so are directories, which
    /// are given to the daemon's user. It is opened as the daemon's user; the start fails if it cannot
    /// be, or if it is somebody else's in a directory where he may make files.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let log = std::env::temp_dir().join("example.log");
    /// let daemon = Daemon::new("example").stdout_file(&log).stderr_file(&log); // one open file
    /// assert_eq!(daemon.check()?.stdout_file(), Some(log.as_path()));
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn stdout_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.stdout_file = Some(path.into());
        self
    }

    /// A file to append standard error to, unless in the foreground; it may be the one of standard
    /// output. All else is as for [`stdout_file`](Self::stdout_file). Default: the null device, but what
    /// is written before the start has succeeded goes to the terminal if it fails, see
    /// [`Error::worker_output`](crate::Error::worker_output).
    #[must_use]
    pub fn stderr_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.stderr_file = Some(path.into());
        self
    }

    /// A directory to make the root directory, chroot(2). All other paths are then below it, with a
    /// leading slash or without. It must exist. Needs root (`CAP_SYS_CHROOT`), or the start fails.
    /// Default: none.
    ///
    /// Users and groups are still looked up outside. The directory needs no `dev/null`.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// # let jail = tempfile::tempdir()?;
    /// # let jail = jail.path().canonicalize()?;
    /// let config = Daemon::new("example").chroot_dir(&jail).pid_file("/example.pid").check()?;
    /// assert_eq!(config.pid_file(), Some(jail.join("example.pid").as_path()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn chroot_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.chroot_dir = Some(path.into());
        self
    }

    /// The user to become, by name or number; with the supplementary groups of the user database, and
    /// that user's group unless [`group`](Self::group) names another. Default: whoever starts the daemon.
    ///
    /// Needs root (`CAP_SETUID`, `CAP_SETGID`), or the start fails; naming oneself needs nothing. Groups,
    /// group and user are changed in this order, setgroups(2), setresgid(2), setresuid(2), and checked.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// assert!(Daemon::new("example").user("root").check().is_ok());
    /// assert!(Daemon::new("example").user(0).check().is_ok());
    /// let error = Daemon::new("example").user("nosuchuser").check().unwrap_err();
    /// assert_eq!(error.to_string(), "user \"nosuchuser\" does not exist");
    /// ```
    #[must_use]
    pub fn user(mut self, user: impl ToString) -> Self {
        self.settings.set_user(user.to_string());
        self
    }

    /// The group to act as, by name or number. Needs root (`CAP_SETGID`), or the start fails. Default: the
    /// user's.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let error = Daemon::new("example").group("nosuchgroup").check().unwrap_err();
    /// assert_eq!(error.to_string(), "group \"nosuchgroup\" does not exist");
    /// ```
    #[must_use]
    pub fn group(mut self, group: impl ToString) -> Self {
        self.settings.set_group(group.to_string());
        self
    }

    /// The file mode creation mask, umask(2): the permissions that new files do not get. Default:
    /// `0o022`.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// assert!(Daemon::new("example").umask(0o077).check().is_ok());
    /// assert!(Daemon::new("example").umask(0o1000).check().is_err());
    /// ```
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.settings.umask = mask;
        self
    }

    /// Closes all descriptors above standard error when the daemon comes up, except the library's own,
    /// close_range(2). Default: they stay.
    ///
    /// Whatever opened them in this program must not use or close them afterwards.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let daemon = Daemon::new("example").close_open_files();
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn close_open_files(mut self) -> Self {
        self.settings.close_open_files = true;
        self
    }

    /// Leaves the limit on core dumps alone. Default: it is set to 0, setrlimit(2), because a core dump of
    /// a privileged process may tell its secrets.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let daemon = Daemon::new("example").allow_core_dumps();
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn allow_core_dumps(mut self) -> Self {
        self.settings.core_dumps = true;
        self
    }

    /// How long `stop` waits for the end, unless [`Stop::timeout`](crate::Stop::timeout) says
    /// otherwise; and how long a daemon whose start has failed may take to end by itself. Default:
    /// 10 seconds.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// use std::time::Duration;
    /// let daemon = Daemon::new("example").stop_timeout(Duration::from_secs(60));
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stop_timeout = timeout;
        self
    }

    /// How long everything before the worker may take, the start hook above all, where no
    /// [`ready_timeout`](Self::ready_timeout) bounds the whole start; then it has failed. Default: 90
    /// seconds.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// use std::time::Duration;
    /// let daemon = Daemon::new("example").start_timeout(Duration::from_secs(600)).on_start(|| {
    ///     // A migration of the database, say.
    ///     Ok(())
    /// });
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.settings.start_timeout = timeout;
        self
    }

    /// Makes [`Context::ready`](crate::Context::ready) mandatory: a worker that has not called it within this time, set-up
    /// included, is ended, and the start has failed. Default: alive for one second is enough.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// use std::time::Duration;
    /// let daemon = Daemon::new("example").ready_timeout(Duration::from_secs(5)).worker(|ctx| {
    ///     let listener = std::net::TcpListener::bind("127.0.0.1:7777")?;
    ///     ctx.ready();
    ///     ctx.shutdown().wait();
    ///     Ok(drop(listener))
    /// });
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.settings.startup = Startup::Ready(timeout);
        self
    }

    /// The signals that ask the daemon to end, signal(7). Default: HUP, INT, QUIT and TERM.
    ///
    /// Leave out what the worker handles itself; `stop` always sends TERM.
    ///
    /// ```
    /// use daemonocle::{Daemon, Signal};
    /// let daemon = Daemon::new("example").end_on([Signal::INT, Signal::QUIT, Signal::TERM]);
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn end_on(mut self, signals: impl AsRef<[Signal]>) -> Self {
        self.settings.end_on = signals.as_ref().to_vec();
        self
    }

    /// Lets a HUP that somebody sends make the daemon reload, as
    /// [`Context::reload`](crate::Context::reload) does, instead of ending it; that of a terminal that hangs
    /// up ends it all the same. What there is to say when a reload fails goes to standard error. Default:
    /// HUP is one of [`end_on`](Self::end_on). A program ([`exec`](Self::exec)) cannot reload, and gets HUP
    /// itself: to start one with this is an error.
    ///
    /// And adds the action `reload`, see [`reload`](Self::reload), which tells how it went to who has
    /// asked for it.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let daemon = Daemon::new("example").reload_on_hup().stderr_file("/tmp/example.log");
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn reload_on_hup(mut self) -> Self {
        self.settings.set_reload_on_hup();
        self.reload = Some(action::reload);
        if self.custom(RELOAD).is_some() {
            self.object(taken(RELOAD));
        }
        self
    }

    /// What the action `reload` does, where there is one.
    #[cfg(feature = "cli")]
    pub(crate) const fn reloading(&self) -> Option<Reload> {
        self.reload
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The same daemon with other settings: one of many.
    pub(crate) fn with(&self, settings: Settings) -> Self {
        let (subject, customs) = (Arc::clone(&self.subject), self.customs.clone());
        Self { settings, subject, customs, reload: self.reload }
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("settings", &self.settings).finish_non_exhaustive()
    }
}
