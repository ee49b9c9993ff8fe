//! How a daemon ends: one reason, one run of the hook, one exit.
//!
//! Whatever happens (the worker returns, panics, calls exit(3), a signal comes, a second one comes,
//! the command `start` dies) ends in [`Lifecycle::finish`]; the first to get there decides, and
//! everybody else waits there for the end of the process.

#![forbid(unsafe_code)]

mod end;
mod handle;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::task::{self, Poll, Waker};
use std::thread::{self, JoinHandle, ThreadId};

use crate::error::Result;
use crate::sys::fd::Flag;
use crate::sys::hooks::is_copy;
use crate::sys::process::{Pid, exit_now, flush_streams};
use crate::sys::signal::arrival::{Arrival, Moment, Sender};
use crate::sys::signal::{Signal, die_by};
use crate::sys::thread::spawn;

pub use end::End;
pub use handle::Shutdown;

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
    /// Whether it was a reload that asked.
    reloaded: AtomicBool,
    /// Whether the worker has taken the handle, and so is expected to return by itself.
    taken: AtomicBool,
    finishing: AtomicBool,
    /// Whether a signal has made a thread for it, which may not have got there yet.
    dispatched: AtomicBool,
    /// When the shutdown hook has begun, if it has.
    hooked: OnceLock<Moment>,
    /// The thread that has begun to finish.
    finisher: OnceLock<ThreadId>,
    hook: Mutex<Option<Hook>>,
    /// Called, maybe twice, when it is known that the daemon is going to end.
    mark_ending: Box<dyn Fn() + Send + Sync>,
    /// Called with the end before the hook, to tell whoever still waits for the start.
    tell: Box<dyn Fn(&End) + Send + Sync>,
    /// Called after the hook, or instead of it: removes the PID file.
    clean_up: Box<dyn Fn() + Send + Sync>,
    cleaned: Once,
    signals: SignalCount,
    /// The signal that came first when the daemon was already ending by itself, or 0.
    missed: AtomicI32,
}

impl Lifecycle {
    pub(crate) fn new(
        hook: Option<Hook>,
        forwarder: Option<Pid>,
        predecessor: Option<Pid>,
        mark_ending: Box<dyn Fn() + Send + Sync>,
        tell: Box<dyn Fn(&End) + Send + Sync>,
        clean_up: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<Self> {
        Ok(Self {
            asked: AtomicI32::new(0),
            flag: Flag::new()?,
            wakers: Mutex::new(Vec::new()),
            reloaded: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            finishing: AtomicBool::new(false),
            dispatched: AtomicBool::new(false),
            hooked: OnceLock::new(),
            finisher: OnceLock::new(),
            hook: Mutex::new(hook),
            mark_ending,
            tell,
            clean_up,
            cleaned: Once::new(),
            signals: SignalCount::new(forwarder, predecessor),
            missed: AtomicI32::new(0),
        })
    }

    /// The signal that has asked for the end, if one has.
    pub(crate) fn asked(&self) -> Option<Signal> {
        Signal::new(self.asked.load(Ordering::SeqCst))
    }

    /// The first signal that would have asked for the end, and has if it was not too late for that.
    pub(crate) fn first_signal(&self) -> Option<Signal> {
        self.asked().or_else(|| Signal::new(self.missed.load(Ordering::SeqCst)))
    }

    /// Whether the worker is expected to return by itself.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked().is_some() || self.reloaded.load(Ordering::SeqCst)
    }

    /// Why the daemon ends whose worker has returned.
    pub(crate) fn end_of(&self, result: Result) -> End {
        match (result, self.asked()) {
            (Ok(()), None) if self.reloaded.load(Ordering::SeqCst) => End::of_reload(),
            (result, asked) => End::of_worker(result, asked),
        }
    }

    /// Whether it is too late for a reload.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_asked() || self.finishing.load(Ordering::SeqCst)
    }

    /// There is a successor. Returns if the worker has taken the handle, and returns by itself.
    pub(crate) fn end_for_reload(self: &Arc<Self>) {
        self.reloaded.store(true, Ordering::SeqCst);
        if !self.taken.load(Ordering::SeqCst) {
            self.finish_from_anywhere(End::of_reload());
        }
        self.raise();
    }

    fn ask(&self, signal: Signal) {
        (self.mark_ending)();
        self.asked.store(signal.number(), Ordering::SeqCst);
        self.raise();
    }

    fn raise(&self) {
        self.flag.raise();
        let wakers =
            std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in wakers {
            shielded(|| waker.wake());
        }
    }

    fn poll_asked(&self, context: &task::Context<'_>) -> Poll<()> {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock: `ask` either sees this waker or has been seen here.
        if self.is_asked() {
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
        let is_ending =
            self.dispatched.load(Ordering::SeqCst) || self.finishing.load(Ordering::SeqCst);
        if before == 0 {
            // A daemon that is ending by itself has nothing more to be asked.
            if is_ending {
                self.missed.store(arrival.signal.number(), Ordering::SeqCst);
                return;
            }
            self.ask(arrival.signal);
            if !self.taken.load(Ordering::SeqCst) {
                self.dispatch(arrival.signal);
            }
        } else if arrival.signal == Signal::HUP {
            // The terminal's end, or a supervisor's courtesy to shells, comes along with a request
            // and is no second thought.
        } else if !is_ending {
            self.dispatch(arrival.signal);
        } else if self.hooked.get().is_some_and(|began| arrival.at > *began) {
            // Not one that came before the hook had begun: two signals in a row must not make it none.
            self.leave(&End::of_signal(arrival.signal));
        }
    }

    fn dispatch(self: &Arc<Self>, signal: Signal) {
        self.dispatched.store(true, Ordering::SeqCst);
        self.finish_elsewhere(End::of_signal(signal));
    }

    /// [`finish`](Self::finish) in a thread of its own.
    pub(crate) fn finish_elsewhere(self: &Arc<Self>, end: End) {
        let this = Arc::clone(self);
        let copy = end.clone();
        let spawned = spawn("daemonocle-end", Box::new(move || this.finish(&copy)));
        if spawned.is_err() {
            // No memory or no processes left: the hook runs here then.
            self.finish(&end);
        }
    }

    /// The same for a thread that has nothing left to do, and may be one of ours: the hook is other
    /// people's code.
    pub(crate) fn finish_from_anywhere(self: &Arc<Self>, end: End) -> ! {
        self.finish_elsewhere(end);
        wait_for_the_end()
    }

    /// Ends the process: hook, clean-up, exit. Whoever comes second waits for the first.
    pub(crate) fn finish(&self, end: &End) -> ! {
        // A child that the worker has forked, and that has returned from there: nothing here is its own.
        if is_copy() {
            exit_now(end.exit_code().into());
        }
        if !self.begin_finish(end) {
            wait_for_the_end();
        }
        self.leave(end)
    }

    /// For an exit(3) that is already under way: hook and clean-up only.
    pub(crate) fn finish_exiting(self: &Arc<Self>, end: End) {
        if self.finisher.get() == Some(&thread::current().id()) {
            // The hook itself has called exit(3), and has its way.
            self.clean_up();
            return;
        }
        // In a thread of its own: the thread-local values of this one are gone already.
        let this = Arc::clone(self);
        let hook = move || {
            if !this.begin_finish(&end) {
                // Another thread was first, and will end the process; this exit(3) waits for it.
                wait_for_the_end();
            }
        };
        let _ = spawn("daemonocle-end", Box::new(hook)).map(JoinHandle::join);
        self.clean_up();
    }

    fn begin_finish(&self, end: &End) -> bool {
        if self.finishing.swap(true, Ordering::SeqCst) {
            return false;
        }
        let _ = self.finisher.set(thread::current().id());
        (self.mark_ending)();
        (self.tell)(end);
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.hooked.set(Moment::now());
        if let Some(hook) = hook {
            // The first reason stands.
            shielded(|| hook(end));
        }
        true
    }

    /// Once, and over when this returns: a second thread that removed the PID file by name could
    /// meet the one of the next daemon there.
    fn clean_up(&self) {
        self.cleaned.call_once(|| (self.clean_up)());
    }

    /// Cleans up and goes, at once.
    fn leave(&self, end: &End) -> ! {
        self.clean_up();
        match end.fatal() {
            None => {
                flush_streams();
                // Not exit(3): its handlers may wait for threads that wait for us, and what the
                // worker wanted done at the end is in its hook.
                exit_now(end.exit_code().into())
            }
            Some(signal) => {
                die_by(signal);
                // A signal that ends nobody (SIGURG, say) is left to be told by the exit code.
                exit_now(end.exit_code().into())
            }
        }
    }
}

/// Calls other people's code, in a thread that has more to do. A panic there has been printed by the end of it;
/// what it carries is not dropped, for that may be a second one.
fn shielded(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        std::mem::forget(payload);
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
/// that got it too and passes it on; and so may one that has met a reload, by way of the process that
/// has handed over. What came directly and what each of them passed on are therefore
/// counted apart, and the largest number is how often somebody asked. The action `stop` only ever is
/// the first to ask, however often it is repeated: it kills nothing unless told to.
struct SignalCount {
    forwarder: Option<Pid>,
    predecessor: Option<Pid>,
    direct: AtomicU32,
    forwarded: AtomicU32,
    handed_on: AtomicU32,
    stops: AtomicU32,
}

impl SignalCount {
    fn new(forwarder: Option<Pid>, predecessor: Option<Pid>) -> Self {
        let zero = || AtomicU32::new(0);
        let (direct, forwarded, handed_on, stops) = (zero(), zero(), zero(), zero());
        Self { forwarder, predecessor, direct, forwarded, handed_on, stops }
    }

    fn count(&self, sender: Sender) {
        match (sender, self.forwarder) {
            // The sentry is the only one who counts: nobody comes between the two steps.
            (Sender::Polite, _) if self.requests() > 0 => {}
            (Sender::Polite, _) => self.stops.store(1, Ordering::SeqCst),
            (Sender::Process(Some(sender)), Some(forwarder)) if sender == forwarder => {
                self.forwarded.fetch_add(1, Ordering::SeqCst);
            }
            (Sender::Process(Some(sender)), _) if Some(sender) == self.predecessor => {
                self.handed_on.fetch_add(1, Ordering::SeqCst);
            }
            _ => {
                self.direct.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn requests(&self) -> u32 {
        let [direct, forwarded, handed_on, stops] =
            [&self.direct, &self.forwarded, &self.handed_on, &self.stops]
                .map(|count| count.load(Ordering::SeqCst));
        direct.max(forwarded).max(handed_on) + stops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ctrl_c_that_arrives_twice_is_one() {
        let parent = Pid::current();
        let count = SignalCount::new(Some(parent), None);
        count.count(Sender::Kernel);
        count.count(Sender::Process(Some(parent)));
        assert_eq!(count.requests(), 1);
        count.count(Sender::Process(Some(parent)));
        assert_eq!(count.requests(), 2);
        count.count(Sender::Process(None));
        assert_eq!(count.requests(), 2);
    }

    #[test]
    fn what_a_predecessor_hands_on_is_no_second_request() {
        let predecessor = Pid::current();
        let count = SignalCount::new(None, Some(predecessor));
        count.count(Sender::Kernel);
        count.count(Sender::Process(Some(predecessor)));
        assert_eq!(count.requests(), 1);
    }

    #[test]
    fn the_panic_of_a_panic_is_none_of_ours() {
        struct Trap;
        impl Drop for Trap {
            fn drop(&mut self) {
                panic!("it is dropped");
            }
        }
        shielded(|| std::panic::panic_any(Trap));
    }

    #[test]
    fn repeated_stops_are_one_request() {
        let count = SignalCount::new(None, None);
        count.count(Sender::Polite);
        count.count(Sender::Polite);
        assert_eq!(count.requests(), 1);
        count.count(Sender::Process(None));
        assert_eq!(count.requests(), 2, "one of kill(1) is a second thought");
        let count = SignalCount::new(None, None);
        count.count(Sender::Kernel);
        count.count(Sender::Polite);
        assert_eq!(count.requests(), 1, "a stop never is");
    }
}
