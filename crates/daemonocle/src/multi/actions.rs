//! What can be done with many workers: the actions of a daemon, for all of them or one.

#![forbid(unsafe_code)]

use crate::action::{self, Details, EventsOfMany, Field, Outcome, Start, Status, Stop};
use crate::config::Settings;
use crate::daemon::Reload;
use crate::error::{Error, Result};
use crate::handover;

use super::{Multi, WorkerResult, Workers};

impl Multi {
    /// Starts these workers at the same time, and returns when it is certain of each what has become of
    /// it. One that runs already is no error, [`Outcome::AlreadyRunning`].
    ///
    /// None of them counts as started before that. Until then, the end of the calling process is the end
    /// of all of them; and a worker that is ready early and dies while others come up has not been started.
    /// One that fails changes nothing for the others.
    ///
    /// Only one of them can be in the foreground; if there is but one, or if one is asked for, it goes by
    /// what the definition says. As [`Daemon::start`](crate::Daemon::start), this does not return in the new
    /// processes.
    ///
    /// # Errors
    ///
    /// A wrong definition, for all workers or for one; more workers than there may be open files; a
    /// worker that does not exist, or several in the foreground ([`Error::is_usage`]). None is started then.
    /// What goes wrong with one worker is the [`result`](WorkerResult::result) of that one.
    ///
    /// ```no_run
    /// use daemonocle::{Daemon, Multi, Start, Workers};
    /// let daemon = Daemon::new("worker_{n}").pid_file("/tmp/worker_{n}.pid").worker(|ctx| {
    ///     ctx.ready();
    ///     ctx.shutdown().wait();
    ///     Ok(())
    /// });
    /// for worker in Multi::new(4, daemon).start(Workers::All, &Start::default())? {
    ///     match worker.result {
    ///         Ok(outcome) => println!("{}: {outcome:?}", worker.name),
    ///         Err(error) => eprintln!("{}: {error}", worker.name),
    ///     }
    /// }
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    pub fn start(&self, which: Workers, how: &Start) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        self.start_telling(which, how, &mut |_, _| {})
    }

    pub(crate) fn start_telling(
        &self,
        which: Workers,
        how: &Start,
        events: EventsOfMany<'_>,
    ) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        self.succeed()?;
        let all = self.settings(which)?;
        let subject = self.daemon.subject();
        let outcomes = match &all[..] {
            [one] => vec![told(0, |tell| action::start(one, subject, *how, tell), events)],
            all => action::start_together(all, subject, *how, events)?,
        };
        Ok(results(all, outcomes))
    }

    /// Stops these workers: all are asked to end, and then waited for together.
    ///
    /// # Errors
    ///
    /// A wrong definition, or a worker that does not exist. What goes wrong with one worker is the
    /// [`result`](WorkerResult::result) of that one: see [`Daemon::stop`](crate::Daemon::stop).
    pub fn stop(&self, which: Workers, how: &Stop) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        self.stop_telling(which, how, &mut |_, _| {})
    }

    pub(crate) fn stop_telling(
        &self,
        which: Workers,
        how: &Stop,
        events: EventsOfMany<'_>,
    ) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        let all = self.settings(which)?;
        let outcomes = match &all[..] {
            [one] => vec![told(0, |tell| action::stop(one, *how, tell), events)],
            all => action::stop_together(all, *how, events)?,
        };
        Ok(results(all, outcomes))
    }

    /// Stops these workers, and starts those that have stopped or were not running.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start), before any of them is stopped. A worker that does not stop is not
    /// started again, and the others are.
    pub fn restart(
        &self,
        which: Workers,
        stop: &Stop,
        start: &Start,
    ) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        self.restart_telling(which, stop, start, &mut |_, _| {})
    }

    pub(crate) fn restart_telling(
        &self,
        which: Workers,
        stop: &Stop,
        start: &Start,
        events: EventsOfMany<'_>,
    ) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        self.succeed()?;
        let all = self.settings(which)?;
        let subject = self.daemon.subject();
        let outcomes = match &all[..] {
            [one] => {
                vec![told(0, |tell| action::restart(one, subject, *stop, *start, tell), events)]
            }
            all => action::restart_together(all, subject, *stop, *start, events)?,
        };
        Ok(results(all, outcomes))
    }

    /// Asks these workers to reload, one after the other, so that the others serve meanwhile: see
    /// [`Daemon::reload`](crate::Daemon::reload).
    ///
    /// # Errors
    ///
    /// A wrong definition, or a worker that does not exist. What goes wrong with one worker is the
    /// [`result`](WorkerResult::result) of that one, which goes on as before, and the others reload all the
    /// same.
    pub fn reload(&self, which: Workers) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        self.reload_telling(which, action::reload, &mut |_, _| {})
    }

    pub(crate) fn reload_telling(
        &self,
        which: Workers,
        reload: Reload,
        events: EventsOfMany<'_>,
    ) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        let all = self.apart(which)?;
        let ask = |(place, one)| told(place, |tell| reload(one, tell), events);
        let outcomes = all.iter().enumerate().map(ask).collect();
        Ok(results(all, outcomes))
    }

    /// The states of these workers, `None` for one that is not running. Takes a tenth of a second, however
    /// many there are.
    ///
    /// # Errors
    ///
    /// A wrong definition, or a worker that does not exist. What goes wrong with one worker is the
    /// [`result`](WorkerResult::result) of that one: see [`Daemon::status`](crate::Daemon::status).
    ///
    /// ```
    /// use daemonocle::{Daemon, Multi, Workers};
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("worker_{n}.pid");
    /// let multi = Multi::new(4, Daemon::new("worker_{n}").pid_file(path));
    /// let results = multi.status(Workers::All)?;
    /// assert!(results.iter().all(|worker| matches!(worker.result, Ok(None))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status(&self, which: Workers) -> Result<Vec<WorkerResult<Option<Status>>>, Error> {
        self.status_telling(which, &mut |_, _| {})
    }

    pub(crate) fn status_telling(
        &self,
        which: Workers,
        events: EventsOfMany<'_>,
    ) -> Result<Vec<WorkerResult<Option<Status>>>, Error> {
        let all = self.settings(which)?;
        let answers = action::status_together(&all, events)?;
        Ok(results(all, answers))
    }

    /// What is asked for of these workers, `None` for one that is not running. Otherwise as
    /// [`status`](Self::status) and [`Daemon::status_of`](crate::Daemon::status_of).
    ///
    /// # Errors
    ///
    /// As of [`status`](Self::status).
    pub fn status_of(
        &self,
        which: Workers,
        fields: &[Field],
    ) -> Result<Vec<WorkerResult<Option<Details>>>, Error> {
        self.status_of_telling(which, fields, &mut |_, _| {})
    }

    pub(crate) fn status_of_telling(
        &self,
        which: Workers,
        fields: &[Field],
        events: EventsOfMany<'_>,
    ) -> Result<Vec<WorkerResult<Option<Details>>>, Error> {
        let all = self.settings(which)?;
        let answers = action::details_together(&all, fields, events)?;
        Ok(results(all, answers))
    }

    /// The names of all actions: see [`Daemon::actions`](crate::Daemon::actions).
    #[must_use]
    pub fn actions(&self) -> Vec<&str> {
        self.daemon.actions()
    }

    /// Does the action of this name, with all its options at their defaults: see
    /// [`Daemon::do_action`](crate::Daemon::do_action). One of the program's own is done for each of these
    /// workers in their order, and gets the definition of that worker.
    ///
    /// # Errors
    ///
    /// As those of the other calls. An action that does not exist is an error too,
    /// [`Error::is_usage`].
    ///
    /// ```
    /// use daemonocle::{Daemon, Multi, Outcome, Workers};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("{n}.pid");
    /// let daemon = Daemon::new("worker_{n}").pid_file(path).action("hello", "", |daemon| {
    ///     println!("Hello, {}!", daemon.check()?.name());
    ///     Ok(())
    /// });
    /// let results = Multi::new(2, daemon).do_action(Workers::One(1), "hello")?; // Hello, worker_1!
    /// assert!(matches!(results[0].result, Ok(Outcome::Done)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn do_action(
        &self,
        which: Workers,
        name: &str,
    ) -> Result<Vec<WorkerResult<Outcome>>, Error> {
        match name {
            "start" => self.start(which, &Start::default()),
            "stop" => self.stop(which, &Stop::default()),
            "restart" => self.restart(which, &Stop::default(), &Start::default()),
            _ => {
                let all = self.apart(which)?;
                self.daemon.check_action(name)?;
                let outcomes =
                    all.iter().map(|one| self.daemon.with(one.clone()).do_action(name)).collect();
                Ok(results(all, outcomes))
            }
        }
    }

    /// Becomes the worker that has run this program because it reloads, if one has; returns if not, or if
    /// that cannot be.
    fn succeed(&self) -> Result<(), Error> {
        if !handover::is_waiting() {
            return Ok(());
        }
        let settings_of = |worker: Option<u32>| match worker {
            Some(id) => self.daemon.settings().of_worker(id, self.count),
            None => Err(Error::definition("it was none of many workers before")),
        };
        let Err(error) = action::succeed(self.daemon.subject(), settings_of);
        Err(error)
    }
}

/// What has come of the worker at this place, and been told on the way.
fn told(
    place: usize,
    act: impl FnOnce(&mut dyn FnMut(action::Event<'_>)) -> Result<Outcome, Error>,
    events: EventsOfMany<'_>,
) -> Result<Outcome, Error> {
    let outcome = act(&mut |event| events(place, event));
    if let Err(error) = &outcome {
        events(place, action::Event::Failed(error));
    }
    outcome
}

fn results<T>(all: Vec<Settings>, answers: Vec<Result<T, Error>>) -> Vec<WorkerResult<T>> {
    let of = |(Settings { name, worker, .. }, result)| WorkerResult {
        id: worker.unwrap_or_default(),
        name,
        result,
    };
    all.into_iter().zip(answers).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Daemon;

    #[test]
    fn an_action_that_does_not_exist() {
        let daemon = Daemon::new("worker_{n}").pid_file("/nonexistent/{n}.pid");
        let multi = Multi::new(2, daemon.action("own", "", |_| Ok(())));
        assert_eq!(multi.actions(), ["start", "stop", "restart", "status", "own"]);
        let error = multi.do_action(Workers::All, "begin").unwrap_err();
        assert!(error.is_usage(), "{error}");
        let error = multi.do_action(Workers::One(2), "own").unwrap_err();
        assert!(error.is_usage(), "{error}");
        assert_eq!(multi.do_action(Workers::All, "own").unwrap().len(), 2);
    }
}
