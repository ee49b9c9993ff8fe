//! What of the user's own code a daemon runs, and when.

#![forbid(unsafe_code)]

use std::sync::{MutexGuard, PoisonError};

use crate::action::Hooks;
use crate::context::Context;
use crate::error::Result;
use crate::shutdown::End;
use crate::worker::{Exec, Worker};

use super::Daemon;

impl Daemon {
    /// Called in the daemon just before the worker, as its user and with all privileges gone; an error
    /// makes the start fail, as `start hook: …`. Default: nothing.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let daemon = Daemon::new("example").on_start(|| {
    ///     std::fs::create_dir_all("/tmp/example")?;
    ///     Ok(())
    /// });
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn on_start(self, hook: impl FnOnce() -> Result + Send + 'static) -> Self {
        self.hooks().start = Some(Box::new(hook));
        self
    }

    /// Called once when the daemon ends in any way that can be caught, with the reason. Default: nothing.
    ///
    /// It may run in another thread than the worker. A panic in it is printed and changes nothing else. A
    /// start that failed before the worker ran does not call it.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let daemon = Daemon::new("example").on_shutdown(|end| {
    ///     println!("{end}"); // "Terminated by SIGTERM (15)"
    /// });
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn on_shutdown(self, hook: impl FnOnce(&End) + Send + 'static) -> Self {
        self.hooks().shutdown = Some(Box::new(hook));
        self
    }

    /// What the daemon does; for those who do not call `run`, which sets it too. The process that
    /// becomes the daemon takes it; the one that called [`start`](Self::start) has it still.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let daemon = Daemon::new("example").worker(|ctx| {
    ///     ctx.shutdown().wait();
    ///     Ok(())
    /// });
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn worker(self, worker: impl FnOnce(&Context) -> Result + Send + 'static) -> Self {
        *self.subject.worker.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Worker::Function(Box::new(worker)));
        self
    }

    /// What the daemon does is another program, see [`Exec`]; for those who do not call `run_exec`, which
    /// sets it too.
    ///
    /// The start hook runs before the program, as its user, and the shutdown hook in its keeper when it
    /// has ended; a [`ready_timeout`](Self::ready_timeout) is an error, since a program has nothing to
    /// call `ready()` on.
    ///
    /// ```
    /// use daemonocle::{Daemon, Exec};
    /// let daemon = Daemon::new("example").exec(Exec::new("sleep").arg("600"));
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[must_use]
    pub fn exec(self, program: Exec) -> Self {
        *self.subject.worker.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Worker::Program(program));
        self
    }

    /// What the daemon does, asynchronously: a tokio runtime with all its threads is made in the daemon,
    /// and what still runs in it is dropped when the worker returns.
    ///
    /// ```
    /// use daemonocle::Daemon;
    /// let daemon = Daemon::new("example").async_worker(async |ctx| {
    ///     ctx.ready();
    ///     ctx.shutdown().requested().await;
    ///     Ok(())
    /// });
    /// # daemon.check()?;
    /// # Ok::<(), daemonocle::Error>(())
    /// ```
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn async_worker<F>(self, worker: F) -> Self
    where
        F: AsyncFnOnce(Context) -> Result + Send + 'static,
    {
        self.worker(move |context| crate::worker::block_on(worker(context.clone())))
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.subject.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
