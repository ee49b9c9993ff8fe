//! The request to end, as a worker sees it.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::fd::{deadline_in, wait_readable};

use super::Lifecycle;

/// The request to end, as a worker sees it: a descriptor that turns readable.
///
/// Block on it with [`wait`](Shutdown::wait), or poll it together with others: it is an [`AsFd`], to be
/// registered for reading with poll(2), epoll(7), mio or tokio. It stays readable and need not be
/// read. A worker that has taken this handle is expected to return when it is asked to; a second
/// signal ends it at once.
///
/// The signal itself may interrupt a system call of the worker's (`EINTR`, signal(7)), as poll(2) here,
/// and may do so a moment before the handle turns readable: call again.
///
/// ```
/// use daemonocle::Context;
/// use rustix::event::{PollFd, PollFlags, poll};
/// use std::net::UdpSocket;
///
/// fn worker(ctx: &Context) -> daemonocle::Result {
///     let socket = UdpSocket::bind("127.0.0.1:7777")?;
///     let shutdown = ctx.shutdown();
///     ctx.ready();
///     while !shutdown.is_requested() {
///         let mut fds =
///             [PollFd::new(&socket, PollFlags::IN), PollFd::new(&shutdown, PollFlags::IN)];
///         rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
///         if fds[0].revents().contains(PollFlags::IN) {
///             socket.recv(&mut [0; 512])?;
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Shutdown(Arc<Lifecycle>);

impl Shutdown {
    pub(crate) fn take(lifecycle: &Arc<Lifecycle>) -> Self {
        lifecycle.taken.store(true, Ordering::SeqCst);
        Self(Arc::clone(lifecycle))
    }

    /// Blocks until the daemon is asked to end, in poll(2): without waking up in between.
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Blocks until the daemon is asked to end, or for this long; whether it was asked.
    ///
    /// ```
    /// # use daemonocle::Context;
    /// # use std::time::Duration;
    /// fn worker(ctx: &Context) -> daemonocle::Result {
    ///     let shutdown = ctx.shutdown();
    ///     while !shutdown.wait_timeout(Duration::from_secs(10)) {
    ///         println!("still here");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(deadline_in(timeout));
        self.is_requested()
    }

    fn wait_until(&self, deadline: Option<Instant>) {
        while !self.is_requested() {
            match wait_readable([Some(self.as_fd())], deadline) {
                Ok([false]) => return,
                Ok([true]) => {}
                // Out of memory, the only error left: not worth a busy loop.
                Err(_) => thread::yield_now(),
            }
        }
    }

    /// Whether the daemon has been asked to end.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_asked()
    }

    /// Waits, asynchronously and in any runtime, until the daemon is asked to end. Cancel safe.
    ///
    /// ```
    /// async fn worker(ctx: daemonocle::Context) -> daemonocle::Result {
    ///     ctx.shutdown().requested().await;
    ///     Ok(())
    /// }
    /// ```
    pub fn requested(&self) -> impl Future<Output = ()> + Send + use<> {
        let lifecycle = Arc::clone(&self.0);
        std::future::poll_fn(move |context| lifecycle.poll_asked(context))
    }
}

impl AsFd for Shutdown {
    /// Readable once the daemon is asked to end, and ever after.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.flag.as_fd()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").field("requested", &self.is_requested()).finish()
    }
}
