//! The process between `start` and a daemon that detaches: the first of the two forks.
//!
//! It leads the new session until the daemon is started, and is the daemon's parent, whom the
//! kernel tells how it died. When the start is over it is killed, and the daemon is PID 1's. Many daemons
//! that are started together have one, and are in one session.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;

use crate::config::Config;
use crate::pid_file::PidFile;
use crate::startup::{Newborn, Report};
use crate::sys::fd::{Numbers, receive, send, wait_readable};
use crate::sys::process::{self, Children, Fork, Pid, SingleThreaded, exit_now};
use crate::sys::signal::arrival::Signals;
use crate::sys::signal::{self, Signal};

use super::birth::{Birth, ErrorPipe, Place};
use super::start::Subject;

/// A daemon to be made.
pub(super) struct Seed {
    pub(super) config: Arc<Config>,
    pub(super) pid_file: Option<Arc<PidFile>>,
    pub(super) newborn: Newborn,
    pub(super) errors: Option<ErrorPipe>,
}

impl Seed {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pid_file = self.pid_file.iter().flat_map(|pid_file| pid_file.descriptors());
        let errors = self.errors.iter().flat_map(|pipe| [pipe.read.as_fd(), pipe.write.as_fd()]);
        pid_file.chain(errors).chain([self.newborn.as_fd()])
    }

    /// Becomes the daemon.
    fn live(self, subject: &Subject, null: OwnedFd) -> ! {
        let Self { config, pid_file, newborn, errors } = self;
        let place = Place::Background { null, errors };
        match subject.birth(config, pid_file, newborn, place) {
            Some(birth) => Birth::live(birth),
            None => exit_now(1),
        }
    }

    fn fail(&self, what: &str, error: &io::Error) -> io::Result<()> {
        let text = format!("cannot {what}: {}", crate::error::reason(error));
        self.newborn.report(&Report::Failed(1, text))
    }
}

/// Runs in the first child: makes the daemons, all in its session. `leash` comes to its end with the
/// starter, which otherwise ends this process when the start is over.
///
/// `all`: where there are several daemons, the descriptors of all of them and the leash, for each to close
/// those of the others.
pub(super) fn run(
    seeds: Vec<Seed>,
    subject: &Subject,
    null: OwnedFd,
    leash: OwnedFd,
    all: Option<&Numbers>,
    proof: SingleThreaded,
) -> ! {
    let fail = |what: &str, error: io::Error| -> ! {
        match seeds.iter().try_for_each(|seed| seed.fail(what, &error)) {
            Ok(()) => exit_now(0),
            Err(error) => give_up(&error),
        }
    };
    if let Err(error) = process::new_session() {
        fail("make a session", error);
    }
    // For the daemons, which inherit it, and for us: were SIGCHLD ignored, as a caller may have left
    // it, nobody would learn how a daemon died.
    if let Err(error) = signal::reset() {
        fail("reset signals", error);
    }
    let mut wards = Vec::with_capacity(seeds.len());
    let mut rest = seeds.into_iter();
    while let Some(seed) = rest.next() {
        match process::fork(proof) {
            Ok(Fork::Child) => {
                let Some(all) = all else {
                    drop(leash);
                    seed.live(subject, null)
                };
                // Before anything else: what it has of the others' claims and channels keeps these alive.
                let own: Vec<_> = seed.descriptors().collect();
                let closed = all.close_all_but(&own);
                drop(own);
                // What is closed must not be closed once more.
                std::mem::forget((rest, wards, leash));
                if let Err(error) = closed {
                    // That it has ended is told by its wait status, if this cannot be.
                    let _ = seed.fail("close what is the other workers'", &error);
                    exit_now(1)
                }
                seed.live(subject, null)
            }
            Ok(Fork::Parent(daemon)) => {
                let Seed { newborn, pid_file, errors, config: _ } = seed;
                // The claim is the daemon's alone.
                drop((pid_file, errors));
                if rest.len() > 0 {
                    sort_out_memory();
                }
                // Not before the claim was let go: the start is complete only after this is heard.
                if let Err(error) = newborn.report(&Report::Born(daemon)) {
                    // The start gives up daemons that have lost their guardian.
                    give_up(&error)
                }
                wards.push(Some(Ward { daemon, newborn }));
            }
            Err(error) => {
                if let Err(error) = seed.fail("fork", &error) {
                    give_up(&error)
                }
                wards.push(None);
            }
        }
    }
    guard(wards, &leash)
}

/// Has the allocator put in order what was freed. The next large request would do it, in each of the
/// daemons to come, and the kernel had to copy the pages for each.
fn sort_out_memory() {
    const LARGE: usize = 4096;
    // For want of memory it is not put in order.
    let mut large = Vec::<u8>::new();
    let _ = large.try_reserve_exact(LARGE);
    drop(std::hint::black_box(large));
}

/// What the command `start` has of its guardian.
pub(super) struct Reins {
    /// Its end tells the guardian that the starter is dead.
    pub(super) hold: OwnedFd,
    /// Our own child, not yet waited for.
    pub(super) guardian: Pid,
}

/// What the command `start` asks the guardian to do to a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Terminate,
    Kill,
}

impl Order {
    pub(super) const fn signal(self) -> Signal {
        match self {
            Self::Terminate => Signal::TERM,
            Self::Kill => Signal::KILL,
        }
    }

    /// Whether there is a guardian to take it. One that somebody has stopped goes on.
    pub(super) fn give(self, reins: &Reins, which: usize) -> bool {
        // It fails only when the guardian is dead.
        let is_given = send(reins.hold.as_fd(), &self.encode(which)).is_ok();
        process::signal_child(reins.guardian, Signal::CONT);
        is_given
    }

    fn encode(self, which: usize) -> Vec<u8> {
        let letter = match self {
            Self::Terminate => b'T',
            Self::Kill => b'K',
        };
        [&[letter][..], &which.to_ne_bytes()].concat()
    }

    fn decode(message: &[u8]) -> Option<(Self, usize)> {
        let (letter, which) = message.split_first()?;
        let order = match letter {
            b'T' => Self::Terminate,
            b'K' => Self::Kill,
            _ => return None,
        };
        Some((order, usize::from_ne_bytes(which.try_into().ok()?)))
    }

    /// `None`: the start is over.
    fn take(leash: &OwnedFd) -> Option<(Self, usize)> {
        Self::decode(&receive(leash.as_fd()).ok()?)
    }
}

/// A daemon that lives.
struct Ward {
    daemon: Pid,
    newborn: Newborn,
}

fn guard(mut wards: Vec<Option<Ward>>, leash: &OwnedFd) -> ! {
    // One for all of them, and before they are looked at: no death is missed.
    let signals = Signals::register(&[Signal::CHLD]).unwrap_or_else(|error| give_up(&error));
    let mut alive = wards.iter().flatten().count();
    loop {
        while let Some(daemon) = process::ended_child() {
            bury(daemon, &mut wards);
            alive = alive.saturating_sub(1);
        }
        if alive == 0 {
            exit_now(0);
        }
        let ready = wait_readable([Some(signals.as_fd()), Some(leash.as_fd())], None);
        let [death, order] = ready.unwrap_or_else(|error| give_up(&error));
        if order {
            let Some((order, which)) = Order::take(leash) else { exit_now(0) };
            if let Some(Some(ward)) = wards.get(which) {
                process::kill_child(ward.daemon, order.signal());
            }
        }
        if death {
            let _ = signals.next();
        }
    }
}

fn bury(daemon: Pid, wards: &mut [Option<Ward>]) {
    // While the daemon is unburied its number, which is its group's, cannot be anybody else's.
    process::kill_group(daemon);
    let is_it = |ward: &Option<Ward>| ward.as_ref().is_some_and(|ward| ward.daemon == daemon);
    let ward = wards.iter_mut().find(|ward| is_it(ward)).and_then(Option::take);
    if let Ok(Some((_, status))) = process::wait(Children::One(daemon))
        && let Some(ward) = ward
        && let Err(error) = ward.newborn.report(&Report::Died(status))
        // Nobody is there to hear it: of many, some have been accepted before others.
        && !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
    {
        give_up(&error)
    }
}

/// Ends, and tells why by the exit code: there is no other way left.
fn give_up(error: &io::Error) -> ! {
    exit_now(error.raw_os_error().filter(|code| (1..256).contains(code)).unwrap_or(libc::EIO))
}

/// What a guardian that has ended like this had to say.
pub(super) fn complaint(status: ExitStatus) -> Option<io::Error> {
    status.code().filter(|code| *code != 0).map(io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_orders() {
        for order in [Order::Terminate, Order::Kill] {
            assert_eq!(Order::decode(&order.encode(7)), Some((order, 7)));
        }
        crate::fuzz::hold("order", |message| {
            let is_whole = message.len() == 1 + size_of::<usize>();
            let letter = message.first().copied().filter(|_| is_whole);
            let order = Order::decode(message);
            assert_eq!(order.is_some(), matches!(letter, Some(b'T' | b'K')));
            if let Some((order, which)) = order {
                assert_eq!(order == Order::Kill, letter == Some(b'K'));
                assert_eq!(order.encode(which), message);
            }
        });
    }
}
