//! Many daemons as one: the workers of one definition.

#![forbid(unsafe_code)]

mod actions;

use crate::action::{check_together, locate_together};
use crate::config::{Config, Settings};
use crate::daemon::Daemon;
use crate::error::{Error, Result};

/// Many daemons of one definition, which are started, stopped and looked at together: its workers,
/// numbered from 0.
///
/// The [`name`](Daemon::new), [`pid_file`](Daemon::pid_file), [`work_dir`](Daemon::work_dir),
/// [`stdout_file`](Daemon::stdout_file), [`stderr_file`](Daemon::stderr_file),
/// [`chroot_dir`](Daemon::chroot_dir) and both prefixes of a [`Layout`](crate::Layout) are templates: `{n}`
/// in them is the number of the worker, `{n:4}` and `{n:04}` are that in a width of four, filled up with
/// spaces or zeros, and `{{` and `}}` are braces. Name and PID file must be another one for each worker.
///
/// Each worker is a daemon as any other, with its PID file and a process group of its own; those that
/// are started together are in one session. [`Context::worker_id`](crate::Context::worker_id) tells a
/// worker which one it is, and [`Context::definition`](crate::Context::definition) has its own name and
/// paths.
///
/// ```no_run
/// use daemonocle::{Daemon, Multi};
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     let daemon = Daemon::new("worker_{n}").pid_file("/run/worker/{n}.pid");
///     Multi::new(4, daemon).run(|ctx| {
///         let _number = ctx.worker_id();
///         ctx.ready();
///         ctx.shutdown().wait();
///         Ok(())
///     })
/// }
/// ```
///
/// Its commands are those of a [`Daemon`], with `--worker-id` for one worker; all are meant without it.
pub struct Multi {
    count: u32,
    daemon: Daemon,
}

/// Which workers of a [`Multi`] are meant.
///
/// ```
/// use daemonocle::Workers;
/// assert_eq!(Workers::default(), Workers::All);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// All of them.
    #[default]
    All,
    /// The one with this number, counted from 0.
    One(u32),
}

/// What has come of an action for one worker of a [`Multi`].
///
/// ```
/// use daemonocle::{Daemon, Multi, Outcome, Stop, Workers};
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("{n}.pid");
/// let multi = Multi::new(2, Daemon::new("worker_{n}").pid_file(path));
/// let results = multi.stop(Workers::All, &Stop::default())?;
/// assert_eq!(results[1].id, 1);
/// assert_eq!(results[1].name, "worker_1");
/// assert!(matches!(results[1].result, Ok(Outcome::NotRunning)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct WorkerResult<T> {
    /// The number of the worker.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What has come of it.
    pub result: Result<T, Error>,
}

impl Multi {
    /// As many workers, at least one, of this definition; the same as many daemons with the numbers
    /// put in, which [`check`](Self::check) would show.
    ///
    /// What is wrong with the templates, or with the number, makes every action fail.
    #[must_use]
    pub const fn new(count: u32, daemon: Daemon) -> Self {
        Self { count, daemon }
    }

    /// Checks the definition without doing anything, and gives that of each worker.
    ///
    /// # Errors
    ///
    /// Those of [`Daemon::check`] for each worker; a number of workers that is 0, or more than 65,536; a
    /// template that makes no sense; a name or a PID file that is the same for several workers, or no PID
    /// file. See [`Error::is_definition`].
    ///
    /// ```
    /// use daemonocle::{Daemon, Multi};
    /// let multi = |path: &str| Multi::new(12, Daemon::new("worker_{n:02}").pid_file(path));
    /// let configs = multi("/run/worker_{n:02}.pid").check()?;
    /// assert_eq!(configs[7].name(), "worker_07");
    /// assert_eq!(configs[7].pid_file(), Some("/run/worker_07.pid".as_ref()));
    ///
    /// let error = multi("/run/worker.pid").check().unwrap_err();
    /// assert!(error.is_definition() && error.to_string().starts_with("PID files must be unique"));
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    pub fn check(&self) -> Result<Vec<Config>, Error> {
        check_together(&self.settings(Workers::All)?)
    }

    /// How many workers there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The definition that those of the workers are made of.
    #[must_use]
    pub const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The settings of these workers, in their order.
    pub(crate) fn settings(&self, which: Workers) -> Result<Vec<Settings>, Error> {
        match which {
            Workers::All => self.daemon.settings().of_workers(self.count),
            Workers::One(id) => Ok(vec![self.daemon.settings().of_worker(id, self.count)?]),
        }
    }

    /// The settings of these workers, for what is done to one after the other: no two of them are the
    /// same.
    pub(crate) fn apart(&self, which: Workers) -> Result<Vec<Settings>, Error> {
        let all = self.settings(which)?;
        locate_together(&all)?;
        Ok(all)
    }

    /// Changes the definition.
    #[cfg(feature = "cli")]
    pub(crate) fn map(self, change: impl FnOnce(Daemon) -> Daemon) -> Self {
        Self { daemon: change(self.daemon), ..self }
    }
}

impl std::fmt::Debug for Multi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Multi").field("count", &self.count).field("daemon", &self.daemon).finish()
    }
}
