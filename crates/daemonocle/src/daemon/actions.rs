//! What can be done with a daemon: the actions of the definition.

#![forbid(unsafe_code)]

use crate::action::{self, Details, Event, Field, Outcome, Start, Status, Stop};
use crate::config::Config;
use crate::error::{Error, Result};

use super::Daemon;

impl Daemon {
    /// Checks the definition without doing anything.
    ///
    /// # Errors
    ///
    /// Says what is wrong: a directory that is missing, a user that does not exist, a PID file that is a
    /// directory, …; see [`Error::is_definition`].
    ///
    /// ```
    /// let error = daemonocle::Daemon::new("").check().unwrap_err();
    /// assert!(error.is_definition());
    /// assert_eq!(error.to_string(), "name \"\" must be one line of text, and not empty");
    /// ```
    pub fn check(&self) -> Result<Config, Error> {
        self.settings.validate()
    }

    /// Starts the daemon, and returns when it has started, or in the foreground when it has ended. A
    /// daemon that runs already is no error, [`Outcome::AlreadyRunning`]; a start in progress is waited
    /// for.
    ///
    /// In the new process this does not return: it runs the worker and exits, so that nothing the caller
    /// has on its stack is dropped twice.
    ///
    /// # Errors
    ///
    /// The daemon is not running then, and nothing is left of it. [`Error::exit_code`] is the worker's, if
    /// it was the worker that ended, and [`Error::worker_output`] what it wrote to standard error.
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Outcome, Start};
    /// let daemon = Daemon::new("example").pid_file("/tmp/example.pid").worker(|ctx| {
    ///     ctx.ready();
    ///     ctx.shutdown().wait();
    ///     Ok(())
    /// });
    /// if let Outcome::Started { pid } = daemon.start(&Start::default())? {
    ///     println!("it is process {pid}");
    /// }
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
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

    /// Asks the daemon to end (TERM, by pidfd_send_signal(2)) and waits until it has. One that is not
    /// running is no error, [`Outcome::NotRunning`].
    ///
    /// # Errors
    ///
    /// Whenever it is not certain that it has ended: time-out, lack of permission, a PID file that is held
    /// by somebody who cannot be identified. Nothing but the daemon is ever signalled.
    ///
    /// ```
    /// use daemonocle::{Daemon, Outcome, Stop};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("example.pid");
    /// let daemon = Daemon::new("example").pid_file(path);
    /// assert_eq!(daemon.stop(&Stop::default())?, Outcome::NotRunning);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// Those of [`stop`](Self::stop), after which nothing is started, and of [`start`](Self::start). A
    /// wrong definition is found before anything is stopped.
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Start, Stop};
    /// let daemon = Daemon::new("example").pid_file("/tmp/example.pid").worker(|_| Ok(()));
    /// daemon.restart(&Stop { timeout: None, force: true }, &Start::default())?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
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

    /// Asks the daemon to reload (HUP, with a mark, by pidfd_send_signal(2)), and waits for its answer: a new
    /// process has taken over, [`Outcome::Reloaded`]. And for the end of the old one, but no longer than
    /// the definition's [`stop_timeout`](Self::stop_timeout). It must have been started from a definition with
    /// [`reload_on_hup`](Self::reload_on_hup). One that is not running is no error,
    /// [`Outcome::NotRunning`]; a start in progress is waited for.
    ///
    /// The daemon answers on an abstract socket, unix(7), so it should be in the caller's network namespace;
    /// from another one only a success is seen, after a second.
    ///
    /// # Errors
    ///
    /// The daemon goes on as before: the new process did not come up ([`Error::exit_code`] is its own, the
    /// message its reason, as in [`Context::reload`](crate::Context::reload)), or the daemon does not reload
    /// when it is asked to. Or it has ended meanwhile, or there was no answer within the time that a start
    /// may take.
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Outcome};
    /// let daemon = Daemon::new("example").pid_file("/tmp/example.pid").reload_on_hup();
    /// if let Outcome::Reloaded { pid } = daemon.reload()? {
    ///     println!("it is process {pid} now");
    /// }
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    pub fn reload(&self) -> Result<Outcome, Error> {
        action::reload(&self.settings, &mut |_| {})
    }

    /// The state of the daemon, one that is still starting included; `None` when it is not running. Takes a
    /// tenth of a second, the time over which the use of the processor is measured, and changes nothing.
    ///
    /// # Errors
    ///
    /// The PID file cannot be read, or is held by somebody who cannot be identified, or who is another one each
    /// time that he is looked at, for ten seconds.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("example.pid");
    /// let daemon = Daemon::new("example").pid_file(path);
    /// assert!(daemon.status()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status(&self) -> Result<Option<Status>, Error> {
        self.status_telling(&mut |_| {})
    }

    pub(crate) fn status_telling(
        &self,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Status>, Error> {
        action::status(&self.settings, events)
    }

    /// What is asked for of the daemon, one that is still starting included; `None` when it is not
    /// running. Changes nothing, and takes a tenth of a second only if
    /// [`Field::CpuPercent`] is asked for.
    ///
    /// What the caller may not read is [`Value::Null`](crate::Value::Null). All of the answer is of one
    /// process: a daemon that ends meanwhile is not running.
    ///
    /// # Errors
    ///
    /// As of [`status`](Self::status).
    ///
    /// ```
    /// use daemonocle::{Daemon, Field};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("example.pid");
    /// let daemon = Daemon::new("example").pid_file(path);
    /// assert!(daemon.status_of(&[Field::OpenFiles, Field::NumThreads])?.is_none());
    /// assert!(daemon.status_of(Field::ALL)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status_of(&self, fields: &[Field]) -> Result<Option<Details>, Error> {
        self.status_of_telling(fields, &mut |_| {})
    }

    pub(crate) fn status_of_telling(
        &self,
        fields: &[Field],
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Details>, Error> {
        action::details(&self.settings, fields, events)
    }
}
