//! What a worker sees.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use crate::config::Config;
use crate::shutdown::{Lifecycle, Shutdown};

/// The worker's view of the daemon that it is.
///
/// Cheap to clone, and at home in any thread.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    lifecycle: Arc<Lifecycle>,
    ready: Box<dyn Fn() + Send + Sync>,
}

impl Context {
    pub(crate) fn new(
        config: Arc<Config>,
        lifecycle: Arc<Lifecycle>,
        ready: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self(Arc::new(Inner { config, lifecycle, ready }))
    }

    /// Says that the daemon works now, which releases the command `start`. Calls after the first one do
    /// nothing.
    ///
    /// A worker that never calls it counts as started when it has lived for one second, or, under
    /// [`Daemon::ready_timeout`](crate::Daemon::ready_timeout), not at all.
    ///
    /// ```
    /// fn worker(ctx: &daemonocle::Context) -> daemonocle::Result {
    ///     let listener = std::net::TcpListener::bind("127.0.0.1:7777")?; // fails: so does `start`
    ///     ctx.ready();
    ///     for client in listener.incoming() {
    ///         drop(client?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn ready(&self) {
        (self.0.ready)();
    }

    /// The request to end. A worker that has called this is expected to return when asked to; one that has
    /// not is ended on the spot, after the shutdown hook.
    ///
    /// ```
    /// fn worker(ctx: &daemonocle::Context) -> daemonocle::Result {
    ///     let shutdown = ctx.shutdown();
    ///     ctx.ready();
    ///     shutdown.wait();
    ///     Ok(()) // everything is put away: exit code 0
    /// }
    /// ```
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        Shutdown::take(&self.0.lifecycle)
    }

    /// The definition that this daemon was started from.
    ///
    /// ```
    /// fn worker(ctx: &daemonocle::Context) -> daemonocle::Result {
    ///     println!("{} in {}", ctx.definition().name(), ctx.definition().work_dir().display());
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn definition(&self) -> &Config {
        &self.0.config
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("name", &self.0.config.name()).finish_non_exhaustive()
    }
}
