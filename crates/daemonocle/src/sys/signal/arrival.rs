//! Signals that arrive as data, on a descriptor.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use rustix::process as rx;

use super::{Signal, die_by, set_of};
use crate::sys::answer::Ticket;
use crate::sys::fd::Guarded;
use crate::sys::hooks::is_copy;
use crate::sys::machine::now;
use crate::sys::process::Pid;
use crate::sys::{check, retry};

/// A signal that has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) signal: Signal,
    pub(crate) sender: Sender,
    /// When it came, whenever it is heard of.
    pub(crate) at: Moment,
    /// Where its sender awaits an answer.
    pub(crate) ticket: Option<Ticket>,
}

impl Arrival {
    /// Whether a key has sent it, which is to all processes of a job (termios(3), `ISIG`). Whoever passes it on
    /// to one of them may be there first, and then it is taken for two.
    pub(crate) fn is_typed(&self) -> bool {
        let keys = [Signal::INT, Signal::QUIT, Signal::TSTP];
        self.sender == Sender::Kernel && keys.contains(&self.signal)
    }
}

/// A moment, in nanoseconds of `CLOCK_MONOTONIC` (clock_gettime(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// May be called by a signal handler.
    pub(crate) fn now() -> Self {
        // There are 584 years of nanoseconds.
        Self(now(libc::CLOCK_MONOTONIC).as_nanos() as u64)
    }
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The terminal, a timer, the kernel itself.
    Kernel,
    /// A process, if it can be seen from here.
    Process(Option<Pid>),
    /// A process that asks for something and will ask again if need be: see [`Polite`].
    Polite,
}

/// A signal that carries a mark, by which its receiver can tell it from one of kill(1): when it comes
/// again it does not ask for more (`SI_QUEUE`, sigaction(2)). It may tell where to answer.
///
/// The layout is the kernel's `siginfo_t` for signals of rt_sigqueueinfo(2).
#[repr(C)]
pub(crate) struct Polite {
    number: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    #[cfg(target_pointer_width = "64")]
    padding: libc::c_int,
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: usize,
    rest: [usize; 12],
}

const MARK: usize = 0x6461_656d;

impl Polite {
    pub(crate) fn new(signal: Signal, ticket: Option<Ticket>) -> Self {
        Self {
            number: signal.number(),
            // Of no use to anybody else, and passed on as it is.
            errno: ticket.map_or(0, Ticket::number),
            code: libc::SI_QUEUE,
            #[cfg(target_pointer_width = "64")]
            padding: 0,
            pid: Pid::current().get(),
            uid: rx::getuid().as_raw(),
            value: MARK,
            rest: [0; 12],
        }
    }
}

// 128 bytes on every architecture (`SI_MAX_SIZE`).
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Polite>() == 128);

/// Signals that arrive as data in a process whatever its threads: by way of a handler.
///
/// It does nothing but write to a pipe. It is installed through `signal-hook-registry`,
/// so that other users of that registry (tokio, `signal-hook`) in the same process go on working.
pub(crate) struct Signals {
    read: Guarded,
    /// Kept so that the pipe has no end, also where no handler writes to it.
    _write: Arc<Guarded>,
}

impl Signals {
    pub(crate) fn register(signals: &[Signal]) -> io::Result<Self> {
        use rustix::pipe::{PipeFlags, pipe_with};
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        // A full pipe must not block a handler; thousands of unread signals are one signal.
        rustix::io::ioctl_fionbio(&write, true)?;
        let (read, write) = (Guarded::new(read)?, Arc::new(Guarded::new(write)?));
        let owner = Pid::current();
        for &signal in signals {
            let write = Arc::clone(&write);
            // SAFETY: the handler calls getpid(2), clock_gettime(2), fstat(2), write(2) and, in a process that it
            // ends, sigaction(2), pthread_sigmask(3) and raise(3), all async-signal-safe
            // (signal-safety(7)); it allocates nothing, takes no lock, and the first three
            // leave `errno` alone.
            unsafe {
                signal_hook_registry::register_unchecked(signal.number(), move |info| {
                    handle(&write, owner, signal, info);
                })
            }?;
        }
        Ok(Self { read, _write: write })
    }

    /// The next signal; blocks until there is one. An error: somebody has closed the descriptor, or
    /// put a file of his own in its place, which must not be waited for.
    pub(crate) fn next(&self) -> io::Result<Arrival> {
        let pipe = self.read.get()?;
        let mut record = [0; RECORD];
        // Records are written whole (they are shorter than PIPE_BUF) and so are read whole.
        let read = retry(|| Ok(rustix::io::read(pipe, &mut record)?))?;
        if read == RECORD {
            decode(record).ok_or_else(|| io::ErrorKind::InvalidData.into())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

const RECORD: usize = 20;

/// What stands in a record where there is no PID.
const KERNEL: i32 = -1;
const POLITE: i32 = -2;

/// Called by the signal handler.
fn encode(signal: Signal, sender: i32, ticket: i32, at: Moment) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&signal.number().to_ne_bytes());
    record[4..8].copy_from_slice(&sender.to_ne_bytes());
    record[8..12].copy_from_slice(&ticket.to_ne_bytes());
    record[12..].copy_from_slice(&at.0.to_ne_bytes());
    record
}

fn decode(record: [u8; RECORD]) -> Option<Arrival> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, at @ ..] = record;
    let sender = match i32::from_ne_bytes([e, f, g, h]) {
        KERNEL => Sender::Kernel,
        POLITE => Sender::Polite,
        pid => Sender::Process(Pid::new(pid)),
    };
    let signal = Signal::new(i32::from_ne_bytes([a, b, c, d]))?;
    let ticket = Ticket::new(i32::from_ne_bytes([i, j, k, l]));
    Some(Arrival { signal, sender, at: Moment(u64::from_ne_bytes(at)), ticket })
}

/// Runs inside the signal handler.
fn handle(pipe: &Guarded, owner: Pid, signal: Signal, info: &libc::siginfo_t) {
    // A child that was forked without exec inherits the handler and the pipe; a signal to it is none
    // to the daemon. And where the worker has put a file of its own in the place of the pipe, nobody
    // listens, and nothing is ours to write. Both end as if nobody had caught anything.
    let is_replaced = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
    let pipe = pipe.get();
    if Pid::current() != owner || is_copy() || pipe.as_ref().is_err_and(is_replaced) {
        die_by(signal);
        return;
    }
    // Closed: the sentry has seen that too.
    let Ok(pipe) = pipe else { return };
    let sender = match is_from_process(info.si_code) {
        // SAFETY: the code says that the sender's PID has been filled in.
        true => unsafe { info.si_pid() },
        false => KERNEL,
    };
    // SAFETY: this code says that a value has been filled in.
    let is_polite =
        info.si_code == libc::SI_QUEUE && unsafe { info.si_value() }.sival_ptr.addr() == MARK;
    let (sender, ticket) = if is_polite { (POLITE, info.si_errno) } else { (sender, 0) };
    let record = encode(signal, sender, ticket, Moment::now());
    // EAGAIN: see `register`. EINTR cannot be: a write to a pipe that does not block is atomic.
    let _ = rustix::io::write(pipe, &record);
}

/// Signals that arrive as data in a process with one thread, which has blocked them: signalfd(2).
/// What the process has said about these signals stays as it is.
pub(crate) struct Queue(OwnedFd);

impl Queue {
    pub(crate) fn new(signals: &[Signal]) -> io::Result<Self> {
        let set = set_of(signals)?;
        // What poll(2) has shown may be gone: the kernel drops a CONT when a TSTP comes.
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is valid for the whole call, which makes a new descriptor.
        let fd = check(unsafe { libc::signalfd(-1, &raw const set, flags) })?;
        // SAFETY: it has just been made, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal; `EAGAIN` if there is none.
    pub(crate) fn next(&self) -> io::Result<Arrival> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        let read = retry(|| Ok(rustix::io::read(&self.0, &mut info)?))?;
        let field = |offset: usize| {
            let bytes = info.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, i32::from_ne_bytes)
        };
        let signal = Signal::new(field(offset_of!(libc::signalfd_siginfo, ssi_signo)));
        let code = field(offset_of!(libc::signalfd_siginfo, ssi_code));
        let pid = field(offset_of!(libc::signalfd_siginfo, ssi_pid));
        match signal {
            Some(signal) if read == info.len() => {
                let sender = if is_from_process(code) {
                    Sender::Process(Pid::new(pid))
                } else {
                    Sender::Kernel
                };
                Ok(Arrival { signal, sender, at: Moment::now(), ticket: None })
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the code of a signal says that the PID of its sender is known (sigaction(2)).
fn is_from_process(code: i32) -> bool {
    matches!(code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_pipe() {
        let now = Moment::now();
        let arrival =
            decode(encode(Signal::TERM, 77, 5, now)).map(|a| (a.signal, a.sender, a.at, a.ticket));
        let sender = Sender::Process(Pid::new(77));
        assert_eq!(arrival, Some((Signal::TERM, sender, now, Ticket::new(5))));
        assert!(decode([0; RECORD]).is_none());
    }

    #[test]
    fn fuzz_records() {
        crate::fuzz::hold("record", |bytes| {
            let mut record = [0; RECORD];
            record.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            let field =
                |place: usize| i32::from_ne_bytes(std::array::from_fn(|i| record[4 * place + i]));
            let [number, sender, ticket] = [0, 1, 2].map(field);
            let Some(arrival) = decode(record) else {
                return assert!(!(1..=64).contains(&number));
            };
            assert_eq!(arrival.signal.number(), number);
            match arrival.sender {
                Sender::Kernel => assert_eq!(sender, -1),
                Sender::Polite => assert_eq!(sender, -2),
                Sender::Process(Some(pid)) => assert_eq!(sender, pid.get()),
                Sender::Process(None) => assert!(sender == 0 || sender < -2),
            }
            let told = arrival.ticket.map_or(0, Ticket::number);
            assert_eq!(told, if (1..=1 << 20).contains(&ticket) { ticket } else { 0 });
            // What the handler writes is read as it was meant.
            let again = encode(arrival.signal, sender, told, arrival.at);
            record[8..12].copy_from_slice(&told.to_ne_bytes());
            assert_eq!(again, record);
        });
    }
}
