//! What a worker sees.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::config::Config;
use crate::error::Error;
use crate::listener::{self, Address};
use crate::shutdown::{Lifecycle, Shutdown};
use crate::sys::rerun::{Rerunner, rerun};

/// The worker's view of the daemon that it is.
///
/// Cheap to clone, and at home in any thread.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    lifecycle: Arc<Lifecycle>,
    ready: Box<dyn Fn() + Send + Sync>,
    reload: Reload,
}

type Reload = Box<dyn Fn(Rerunner) -> Result<(), Error> + Send + Sync>;

impl Context {
    pub(crate) fn new(
        config: Arc<Config>,
        lifecycle: Arc<Lifecycle>,
        ready: Box<dyn Fn() + Send + Sync>,
        reload: Reload,
    ) -> Self {
        Self(Arc::new(Inner { config, lifecycle, ready, reload }))
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

    /// Lets a new process of the same program, with the same arguments and from the same directory, take
    /// over; whatever is by now at the path that the program had, its links resolved. Waits until this
    /// process has been accepted by the command `start`. It gets the PID file without a gap, the streams, and
    /// everything else that is set up already; the start hook does not run again.
    ///
    /// This process goes on until the new one works, by the same rule as for a start: it has called
    /// [`ready`](Self::ready), or lived for a second. Then this one ends, for the reason `Shutting down for
    /// reload`: a worker that has taken [`shutdown`](Self::shutdown) is asked to, and this returns `Ok`; else
    /// it is ended on the spot, and this does not return. May be called from any thread.
    ///
    /// [`Daemon::reload_on_hup`](crate::Daemon::reload_on_hup) does the same when HUP comes.
    ///
    /// # Errors
    ///
    /// There is no new process then, and this one is the daemon as before: the program is gone or cannot be
    /// run, it died or was not ready in time ([`Error::exit_code`] is its own, the message its reason), its
    /// definition has another PID file, another reload is under way, the daemon is in a chroot directory,
    /// or this process is a child of it.
    ///
    /// ```
    /// # use std::{thread, time::{Duration, SystemTime}};
    /// # fn changed() -> std::io::Result<SystemTime> { std::fs::metadata("/etc/example.conf")?.modified() }
    /// fn worker(ctx: &daemonocle::Context) -> daemonocle::Result {
    ///     let before = changed()?;
    ///     loop {
    ///         thread::sleep(Duration::from_secs(10));
    ///         if changed()? != before {
    ///             // With a configuration that nobody can use, the old one stays in force.
    ///             if let Err(error) = ctx.reload() {
    ///                 eprintln!("{error}");
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    pub fn reload(&self) -> Result<(), Error> {
        (self.0.reload)(rerun)
    }

    /// A listening socket, known by a name, which goes along when the daemon [reloads](Self::reload): nobody
    /// who connects meanwhile is lost.
    ///
    /// It is one that was handed over under this name, or a new one, bound to the address. What hands over:
    ///
    /// - The daemon that has reloaded: the new process listens where the old one did, on the very same
    ///   sockets, if it asks for the same address (or for port 0). Sockets that the old one has closed it
    ///   does not hand over; those that the new one has not asked for by the end of its start are closed.
    /// - systemd or another service manager, by the variables `LISTEN_PID`, `LISTEN_FDS` and
    ///   `LISTEN_FDNAMES` (systemd.socket(5), `FileDescriptorName`; sd_listen_fds(3)). There the name alone
    ///   counts, since whoever gives a socket decides where it listens.
    ///
    /// The listener is the worker's own, as the standard library makes it, and drops as it does. While two
    /// processes share it, a connection that both have seen is accepted by one of them, and the other one
    /// waits: a worker that has more to do than to accept makes it non-blocking, in every version of the
    /// program alike, for the mode is one of the socket.
    ///
    /// A file that a killed daemon has left where a socket of the family Unix is to be bound is removed; that of
    /// this daemon is removed at its end.
    ///
    /// # Errors
    ///
    /// Those of bind(2) and listen(2), with name and address; a name that is not printable ASCII without a
    /// colon; a socket of that name which is of another kind.
    ///
    /// ```
    /// use daemonocle::{Context, Result};
    /// use std::io::Write;
    ///
    /// fn worker(ctx: &Context) -> Result {
    ///     let listener = ctx.listener("greetings", "127.0.0.1:7777")?;
    ///     ctx.ready();
    ///     for client in listener.incoming() {
    ///         let _ = client?.write_all(b"Hello!\n");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn listener<A: Address>(&self, name: &str, address: A) -> io::Result<A::Listener> {
        listener::listen(name, &address).map(A::Listener::from)
    }

    /// Which one of many workers this is, counted from 0; `None` unless it is one of a
    /// [`Multi`](crate::Multi).
    ///
    /// ```
    /// fn worker(ctx: &daemonocle::Context) -> daemonocle::Result {
    ///     let port = 7000 + ctx.worker_id().unwrap_or_default();
    ///     println!("{} listens on port {port}", ctx.definition().name());
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn worker_id(&self) -> Option<u32> {
        self.0.config.settings().worker
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
