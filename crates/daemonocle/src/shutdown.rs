//! How a daemon ends: one reason, one run of the hook, one exit.
//!
//! Whatever happens (the worker returns, panics, calls exit(3), a signal comes, a second one comes,
//! the command `start` dies) ends in [`Lifecycle::finish`]; the first to get there decides, and
//! everybody else waits there for the end of the process.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{self, Poll, Waker};
use std::thread::{self, ThreadId};

use crate::error::{Exit, Result, chain};
use crate::sys::fd::Flag;
use crate::sys::process::{Pid, exit_now, flush_streams};
use crate::sys::signal::{Arrival, Sender, Signal, die_by};

/// Why a daemon ends, as its shutdown hook gets it.
///
/// Shown as text it is the sentence for a log: `Shutting down normally`,
/// `Terminated by SIGTERM (15)`, `Exiting with non-zero exit code 3`, `Exiting with message: …`,
/// `Dying due to unhandled panic: …`.
///
/// ```
/// use daemonocle::{Daemon, End, Signal};
/// fn hook(end: &End) {
///     if end.signal() != Some(Signal::TERM) && end.exit_code() != 0 {
///         eprintln!("{end} (exit code {})", end.exit_code());
///     }
/// }
/// let daemon = Daemon::new("example").on_shutdown(hook);
/// # daemon.check()?;
/// # Ok::<(), daemonocle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    reason: Reason,
    exit_code: u8,
    /// Ends as this signal would have ended it, instead of with an exit code.
    fatal: Option<Signal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Normal,
    Signal(Signal),
    Code(u8),
    Message(String),
    Panic(String),
}

impl End {
    /// The intended exit code; 128 + n when the daemon is going to end as by signal n.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// The signal that asked for the end, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.reason {
            Reason::Signal(signal) => Some(signal),
            _ => None,
        }
    }

    /// Whether the worker just returned `Ok`, unasked.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        self.reason == Reason::Normal
    }

    /// What a worker returned, after it was asked to end by `asked` or by nobody.
    pub(crate) fn of_worker(result: Result, asked: Option<Signal>) -> Self {
        match (result, asked) {
            (Ok(()), None) => Self::with(Reason::Normal, 0),
            (Ok(()), Some(signal)) => Self::with(Reason::Signal(signal), 0),
            (Err(error), _) => match error.downcast_ref::<Exit>() {
                Some(Exit { message: Some(text), code }) => {
                    Self::with(Reason::Message(text.clone()), *code)
                }
                Some(Exit { message: None, code }) => Self::of_code(*code),
                None => Self::with(Reason::Message(chain(error.as_ref())), 1),
            },
        }
    }

    /// A panic that nobody caught.
    pub(crate) fn of_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "(no text)".into());
        Self::with(Reason::Panic(text), 101)
    }

    /// An exit(3) called by any code.
    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            0 => Self::with(Reason::Normal, 0),
            code => Self::with(Reason::Code(code), code),
        }
    }

    /// Ended on the spot by a signal.
    pub(crate) fn of_signal(signal: Signal) -> Self {
        let end = Self::with(Reason::Signal(signal), signal.exit_code());
        Self { fatal: Some(signal), ..end }
    }

    /// For a reason of the library's own.
    pub(crate) fn of_message(text: &str) -> Self {
        Self::with(Reason::Message(text.into()), 1)
    }

    fn with(reason: Reason, exit_code: u8) -> Self {
        Self { reason, exit_code, fatal: None }
    }

    /// The part of the reason that an exit code does not tell: the worker's own words.
    pub(crate) fn words(&self) -> &str {
        match &self.reason {
            Reason::Message(text) | Reason::Panic(text) => text,
            Reason::Normal | Reason::Signal(_) | Reason::Code(_) => "",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Normal => f.write_str("Shutting down normally"),
            Reason::Signal(signal) => write!(f, "Terminated by {signal}"),
            Reason::Code(code) => write!(f, "Exiting with non-zero exit code {code}"),
            Reason::Message(text) => write!(f, "Exiting with message: {text}"),
            Reason::Panic(text) => write!(f, "Dying due to unhandled panic: {text}"),
        }
    }
}

/// What the definition wants to be called with at the end.
pub(crate) type Hook = Box<dyn FnOnce(&End) + Send>;

/// The state of one daemon process between its set-up and its end.
pub(crate) struct Lifecycle {
    /// The signal that asked for the end, or 0.
    asked: AtomicI32,
    /// Readable once `asked` is set.
    flag: Flag,
    /// Tasks that wait for it.
    wakers: Mutex<Vec<Waker>>,
    /// Whether the worker has taken the handle, and so is expected to return by itself.
    taken: AtomicBool,
    finishing: AtomicBool,
    /// Whether a signal has made a thread for it, which may not have got there yet.
    dispatched: AtomicBool,
    /// The thread that has begun to finish.
    finisher: OnceLock<ThreadId>,
    hook: Mutex<Option<Hook>>,
    /// Called with the end before the hook, to tell whoever still waits for the start.
    tell: Box<dyn Fn(&End) + Send + Sync>,
    /// Called after the hook, or instead of it: removes the PID file.
    clean_up: Box<dyn Fn() + Send + Sync>,
    signals: SignalCount,
}

impl Lifecycle {
    pub(crate) fn new(
        hook: Option<Hook>,
        forwarder: Option<Pid>,
        tell: Box<dyn Fn(&End) + Send + Sync>,
        clean_up: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<Self> {
        Ok(Self {
            asked: AtomicI32::new(0),
            flag: Flag::new()?,
            wakers: Mutex::new(Vec::new()),
            taken: AtomicBool::new(false),
            finishing: AtomicBool::new(false),
            dispatched: AtomicBool::new(false),
            finisher: OnceLock::new(),
            hook: Mutex::new(hook),
            tell,
            clean_up,
            signals: SignalCount {
                forwarder,
                direct: AtomicU32::new(0),
                forwarded: AtomicU32::new(0),
            },
        })
    }

    /// The signal that has asked for the end, if one has.
    pub(crate) fn asked(&self) -> Option<Signal> {
        Signal::new(self.asked.load(Ordering::SeqCst))
    }

    fn ask(&self, signal: Signal) {
        self.asked.store(signal.number(), Ordering::SeqCst);
        self.flag.raise();
        for waker in self.wakers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            waker.wake();
        }
    }

    fn poll_asked(&self, context: &task::Context<'_>) -> Poll<()> {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock: `ask` either sees this waker or has been seen here.
        if self.asked().is_some() {
            return Poll::Ready(());
        }
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Acts on a signal. Returns in any case: the thread that listens for signals has to go on
    /// listening while a hook runs, or a second signal could not end a hook that hangs.
    pub(crate) fn on_signal(self: &Arc<Self>, arrival: Arrival) {
        let before = self.signals.requests();
        self.signals.count(arrival.sender);
        if self.signals.requests() == before {
            return;
        }
        let first = before == 0;
        if self.finishing.load(Ordering::SeqCst) || self.dispatched.load(Ordering::SeqCst) {
            // The hook is running. One signal may still belong to what started it: a stop that
            // meets a daemon that was ending by itself.
            if !first {
                self.leave(&End::of_signal(arrival.signal));
            }
            return;
        }
        if first {
            self.ask(arrival.signal);
            if self.taken.load(Ordering::SeqCst) {
                return;
            }
        }
        self.dispatched.store(true, Ordering::SeqCst);
        self.finish_elsewhere(End::of_signal(arrival.signal));
    }

    /// [`finish`](Self::finish) in a thread of its own.
    pub(crate) fn finish_elsewhere(self: &Arc<Self>, end: End) {
        let this = Arc::clone(self);
        let copy = end.clone();
        let spawned =
            thread::Builder::new().name("daemonocle-end".into()).spawn(move || this.finish(&copy));
        if spawned.is_err() {
            // No memory or no processes left: the hook runs here then.
            self.finish(&end);
        }
    }

    /// Ends the process: hook, clean-up, exit. Whoever comes second waits for the first.
    pub(crate) fn finish(&self, end: &End) -> ! {
        if !self.begin_finish(end) {
            wait_for_the_end();
        }
        self.leave(end)
    }

    /// For an exit(3) that is already under way: hook and clean-up only.
    pub(crate) fn finish_exiting(self: &Arc<Self>, end: End) {
        if self.finisher.get() == Some(&thread::current().id()) {
            // The hook itself has called exit(3), and has its way.
            (self.clean_up)();
            return;
        }
        // In a thread of its own: the thread-local values of this one are gone already.
        let this = Arc::clone(self);
        let hook = thread::Builder::new()
            .name("daemonocle-end".into())
            .spawn(move || this.begin_finish(&end));
        if matches!(hook.map(thread::JoinHandle::join), Ok(Ok(false))) {
            wait_for_the_end();
        }
        (self.clean_up)();
    }

    fn begin_finish(&self, end: &End) -> bool {
        if self.finishing.swap(true, Ordering::SeqCst) {
            return false;
        }
        let _ = self.finisher.set(thread::current().id());
        (self.tell)(end);
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hook) = hook {
            // A panic in the hook has been printed by now; the first reason stands.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(end)));
        }
        true
    }

    /// Cleans up and goes, at once.
    fn leave(&self, end: &End) -> ! {
        (self.clean_up)();
        match end.fatal {
            None => {
                flush_streams();
                // Not exit(3): its handlers may wait for threads that wait for us, and what the
                // worker wanted done at the end is in its hook.
                exit_now(end.exit_code.into())
            }
            Some(signal) => {
                die_by(signal);
                // PID 1 of a container outlives the signal.
                exit_now(end.exit_code.into())
            }
        }
    }
}

fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// How often the end was asked for.
///
/// In the foreground one Ctrl-C may arrive twice: from the terminal, and from the parent process
/// that got it too and passes it on. What came directly and what was passed on are therefore
/// counted apart, and the larger number is how often somebody asked.
struct SignalCount {
    forwarder: Option<Pid>,
    direct: AtomicU32,
    forwarded: AtomicU32,
}

impl SignalCount {
    fn count(&self, sender: Sender) {
        let forwarded = match (sender, self.forwarder) {
            (Sender::Process(Some(sender)), Some(forwarder)) => sender == forwarder,
            _ => false,
        };
        let counter = if forwarded { &self.forwarded } else { &self.direct };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    fn requests(&self) -> u32 {
        self.direct.load(Ordering::SeqCst).max(self.forwarded.load(Ordering::SeqCst))
    }
}

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
    pub fn wait_timeout(&self, timeout: std::time::Duration) -> bool {
        self.wait_until(crate::sys::fd::deadline_in(timeout));
        self.is_requested()
    }

    fn wait_until(&self, deadline: Option<std::time::Instant>) {
        while !self.is_requested() {
            match crate::sys::fd::wait_readable([Some(self.as_fd())], deadline) {
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
        self.0.asked().is_some()
    }

    /// Waits, asynchronously and in any runtime, until the daemon is asked to end. Cancel safe.
    ///
    /// ```
    /// async fn worker(ctx: daemonocle::Context) -> daemonocle::Result {
    ///     ctx.shutdown().requested().await;
    ///     Ok(())
    /// }
    /// ```
    pub async fn requested(&self) {
        std::future::poll_fn(|context| self.0.poll_asked(context)).await;
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
        f.debug_struct("Shutdown").field("requested", &self.0.asked()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_the_words_of_the_original() {
        let text = |end: End| end.to_string();
        assert_eq!(text(End::of_worker(Ok(()), None)), "Shutting down normally");
        assert_eq!(text(End::of_worker(Ok(()), Some(Signal::INT))), "Terminated by SIGINT (2)");
        assert_eq!(text(End::of_signal(Signal::TERM)), "Terminated by SIGTERM (15)");
        assert_eq!(
            text(End::of_worker(Err(Exit::with_code(3).into()), None)),
            "Exiting with non-zero exit code 3"
        );
        assert_eq!(text(End::of_worker(Err("no".into()), None)), "Exiting with message: no");
        assert_eq!(text(End::of_panic(&"oops")), "Dying due to unhandled panic: oops");
    }

    #[test]
    fn exit_codes_follow_the_reason() {
        assert_eq!(End::of_worker(Ok(()), Some(Signal::TERM)).exit_code(), 0);
        assert_eq!(End::of_signal(Signal::TERM).exit_code(), 143);
        assert_eq!(End::of_worker(Err(Exit::with_code(42).into()), None).exit_code(), 42);
        assert_eq!(End::of_panic(&7).exit_code(), 101);
    }

    #[test]
    fn one_ctrl_c_that_arrives_twice_is_one() {
        let parent = Pid::current();
        let count = SignalCount {
            forwarder: Some(parent),
            direct: AtomicU32::new(0),
            forwarded: AtomicU32::new(0),
        };
        count.count(Sender::Kernel);
        count.count(Sender::Process(Some(parent)));
        assert_eq!(count.requests(), 1);
        count.count(Sender::Process(Some(parent)));
        assert_eq!(count.requests(), 2);
        count.count(Sender::Process(None));
        assert_eq!(count.requests(), 2);
    }
}
