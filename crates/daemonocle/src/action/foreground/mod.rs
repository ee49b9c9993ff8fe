//! `start` in the foreground: the daemon stays on the terminal, and this process beside it, to
//! pass signals on, to wait until everything of it is gone, and to end as it ended.

#![forbid(unsafe_code)]

mod members;
mod signals;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::pid_file::{self, Origin};
use crate::startup::{Reply, channel};
use crate::sys::fd::{deadline_in, wait_readable};
use crate::sys::proc;
use crate::sys::process::{self, Children, Fork, Pid, PidFd, Subreaper};
use crate::sys::signal::arrival::{Arrival, Queue, Sender};
use crate::sys::signal::{ChildrenStay, Signal, stop_if_asked};

use super::birth::Place;
use super::start::{Launch, Subject};
use super::watch::{Failure, Step, Watch};
use super::{Event, Events, Outcome, cannot, unsent};
use signals::{FORWARDED, Signals};

/// The wait status of a daemon whose end nobody has seen: exit code 1.
const UNKNOWN: i32 = 1 << 8;

pub(super) fn run(
    launch: &mut Launch,
    subject: &Subject,
    events: Events<'_>,
) -> Result<Outcome, Error> {
    let (starter, newborn) = channel().map_err(|error| cannot("make a channel", error))?;
    // Only for as long as the daemon lives: afterwards the caller is what it was before.
    let _blocked = signals::block().map_err(|error| cannot("block signals", error))?;
    let children = ChildrenStay::begin().map_err(|error| cannot("handle signals", error))?;
    let subreaper = Subreaper::begin().map_err(|error| cannot("adopt orphans", error))?;
    // All our children, orphans of the daemon's included, who become so. Where the caller has some of his own,
    // only who is of the process group: he may want to wait for them himself. But PID 1 buries everybody.
    let family = match Pid::current().get() {
        1 => Children::Any,
        _ if !process::has_children() => Children::Any,
        _ => Children::Group,
    };
    process::flush_streams();
    let is_program = subject.is_program();
    let parent = Pid::current();
    let daemon = match process::fork(launch.proof).map_err(|error| cannot("fork", error))? {
        Fork::Child => {
            drop((starter, children));
            match launch.birth(subject, newborn, Place::Foreground { parent }) {
                Some(birth) => birth.live(),
                None => process::exit_now(1),
            }
        }
        Fork::Parent(pid) => pid,
    };
    drop(newborn);
    let signals = Signals::new().map_err(|error| cannot("handle signals", error));
    let watch = Watch::new(&launch.config, starter, None, daemon);
    let mut supervisor = Supervisor {
        launch,
        daemon,
        is_program,
        phase: Phase::SettingUp,
        status: None,
        successor_status: None,
        failure: None,
        last_moment: None,
        is_asked: false,
        family,
        watch,
    };
    let outcome = signals.and_then(|signals| supervisor.run(&signals, events));
    if supervisor.status.is_none() {
        // Something is wrong on our side: better no daemon than one unattended.
        process::kill_child(daemon, Signal::KILL);
        let _ = process::wait(Children::One(daemon));
    }
    drop((subreaper, children));
    outcome
}

/// How far the start is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    SettingUp,
    /// The worker runs, and the outcome is not certain yet.
    Running,
    /// The outcome is known.
    Settled,
}

struct Supervisor<'a> {
    launch: &'a mut Launch,
    daemon: Pid,
    /// Whether the daemon is the keeper of a program.
    is_program: bool,
    phase: Phase,
    /// How the daemon has ended, once it has.
    status: Option<ExitStatus>,
    /// How its successor has, that has ended before it.
    successor_status: Option<ExitStatus>,
    failure: Option<Failure>,
    /// When a daemon whose start has failed is killed.
    last_moment: Option<Instant>,
    /// Whether a signal has asked for the end.
    is_asked: bool,
    /// Whom we bury.
    family: Children,
    watch: Watch,
}

impl Supervisor<'_> {
    fn run(&mut self, signals: &Signals, events: Events<'_>) -> Result<Outcome, Error> {
        while self.status.is_none() {
            let deadline = match self.phase {
                Phase::Settled => self.last_moment,
                Phase::SettingUp | Phase::Running => self.watch.deadline(),
            };
            let [queue, stop] = signals.descriptors();
            let ready = wait_readable([queue, stop, self.watch.talk()], deadline);
            match ready.map_err(|error| Error::system("cannot wait for the daemon", error))? {
                [false, false, false] if self.phase == Phase::Settled => {
                    self.last_moment = None;
                    process::kill_child(self.daemon, Signal::KILL);
                }
                [false, false, false] => {
                    let step = self.watch.on_deadline();
                    self.on_step(step, events);
                }
                [signal, stop, talk] => {
                    if talk {
                        let step = self.watch.hear().unwrap_or(Step::Nothing);
                        self.on_step(step, events);
                    }
                    if signal {
                        self.on_signal(&signals.queue, events)?;
                    }
                    if stop {
                        if self.status.is_none() {
                            self.pass_on(Signal::TSTP, events);
                        }
                        stop_if_asked().map_err(|error| cannot("stop", error))?;
                    }
                }
            }
        }
        self.hear_out(events);
        self.wait_for_the_rest(signals, events)?;
        self.conclude(events)
    }

    fn on_step(&mut self, step: Step, events: Events<'_>) {
        match (step, self.phase) {
            (Step::SetUp, Phase::SettingUp) => {
                self.phase = Phase::Running;
                // Told before the worker runs, so that its output comes after it.
                events(if self.watch.awaits_ready() { Event::WorkerRuns } else { Event::Done });
                self.watch.worker_runs();
                match self.watch.starter.reply(Reply::Go) {
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                        self.give_up(Failure::System("tell the daemon", error));
                    }
                    // Its wait status will tell of its death.
                    Ok(()) | Err(_) => {}
                }
            }
            (Step::Ready, Phase::SettingUp | Phase::Running) => {
                match self.launch.announce(&mut self.watch, self.daemon) {
                    // Its wait status will tell of its death.
                    Ok(_) | Err(Failure::Death) => {}
                    Err(failure) => return self.give_up(failure),
                }
                self.phase = Phase::Settled;
                if self.watch.awaits_ready() {
                    events(Event::Done);
                }
            }
            // Its wait status will say it better.
            (Step::Failed(Failure::Death), _) => {}
            (Step::Failed(failure), Phase::SettingUp | Phase::Running) => self.give_up(failure),
            (Step::SetUp | Step::Ready | Step::Failed(_) | Step::Nothing, _) => {}
        }
    }

    /// The start has failed: the daemon is going to end, or is told to.
    fn give_up(&mut self, failure: Failure) {
        self.phase = Phase::Settled;
        if !matches!(failure, Failure::SetUp(..) | Failure::Death) {
            process::kill_child(self.daemon, Signal::TERM);
        }
        self.failure = Some(failure);
        self.last_moment = deadline_in(self.launch.config.settings().stop_timeout);
    }

    /// What the daemon said last may be unread when it is dead.
    fn hear_out(&mut self, events: Events<'_>) {
        while let Some(talk) = self.watch.talk() {
            match wait_readable([Some(talk)], deadline_in(Duration::ZERO)) {
                Ok([true]) => {
                    let step = self.watch.hear().unwrap_or(Step::Nothing);
                    self.on_step(step, events);
                }
                _ => return,
            }
        }
    }

    fn on_signal(&mut self, signals: &Queue, events: Events<'_>) -> Result<(), Error> {
        let Ok(arrival) = signals.next() else {
            return Ok(());
        };
        let Arrival { signal, sender, .. } = arrival;
        if signal == Signal::CHLD {
            // What the daemon said last, whether it has a successor above all.
            self.hear_out(events);
            return self.bury(events);
        }
        // What the daemon's own side sent does not go back to it.
        let is_from = |pid| sender == Sender::Process(Some(pid));
        if self.status.is_some()
            || is_from(self.daemon)
            || self.watch.successor.is_some_and(is_from)
        {
            return Ok(());
        }
        self.is_asked |= self.launch.config.settings().end_on.contains(&signal);
        if FORWARDED.contains(&signal) {
            events(Event::Forwarding(signal));
        }
        // A program has it already. A function counts what comes both ways, and looks at the larger number.
        if !(self.is_program && arrival.is_typed())
            && let Some(signal) = self.meaning(arrival)
        {
            self.pass_on(signal, events);
        }
        Ok(())
    }

    /// What the daemon is to be given for a signal. A terminal that hangs up asks for no reload; it tells nobody
    /// but us where we lead the session.
    fn meaning(&self, Arrival { signal, sender, .. }: Arrival) -> Option<Signal> {
        let settings = self.launch.config.settings();
        let is_hang_up = signal == Signal::HUP && sender == Sender::Kernel;
        match is_hang_up && settings.on_hup().is_some() {
            true => settings.end_on.contains(&Signal::HUP).then_some(Signal::TERM),
            false => Some(signal),
        }
    }

    /// Gives the daemon a signal: also where that has just become another process.
    fn pass_on(&mut self, signal: Signal, events: Events<'_>) {
        self.hear_out(events);
        if self.pass_on_to_successor(signal) {
            return;
        }
        if let Err(error) = process::send_to_child(self.daemon, signal) {
            events(Event::Warning(unsent(signal, self.daemon, &error)));
        }
        // It may have handed over before, and have ended before it could pass this on itself. What has come
        // both ways counts once where it asks for the end.
        self.hear_out(events);
        if self.launch.config.settings().end_on.contains(&signal) {
            self.pass_on_to_successor(signal);
        }
    }

    /// `false`: there is none, or it cannot be told for certain from whoever else may have its number.
    fn pass_on_to_successor(&self, signal: Signal) -> bool {
        let Some((successor, handle)) =
            self.watch.successor.and_then(|pid| Some((pid, PidFd::open(pid).ok()?)))
        else {
            return false;
        };
        // Asked after the handle was opened. Who is not made by ours is somebody else.
        let stat = proc::stat(successor).ok().flatten();
        stat.is_some_and(|stat| proc::is_descendant(&stat, Pid::current()).unwrap_or(false))
            && handle.send(signal).is_ok()
    }

    /// Collects those of our children that have ended.
    fn bury(&mut self, events: Events<'_>) -> Result<(), Error> {
        while let Some((pid, status)) =
            self.try_wait().map_err(|error| Error::system("cannot wait for the daemon", error))?
        {
            if pid == self.daemon {
                // It may have said so since.
                self.hear_out(events);
                // By now the successor, if there is one, is our child, or was already.
                match self.watch.successor.take() {
                    Some(successor) => {
                        self.daemon = successor;
                        self.status = self.successor_status.take();
                        if self.status.is_none() && !process::is_child(successor) {
                            // Its predecessor, which took its time to end, has buried it: nobody will tell how
                            // it has ended.
                            self.status = Some(ExitStatus::from_raw(UNKNOWN));
                        }
                    }
                    None => self.status = Some(status),
                }
            } else if self.watch.successor == Some(pid) {
                // It was dead before its predecessor, whose end makes it our child a moment earlier.
                self.successor_status = Some(status);
            }
        }
        Ok(())
    }

    /// One of them. The daemon is ours whatever group it has made for itself.
    fn try_wait(&self) -> io::Result<Option<(Pid, ExitStatus)>> {
        match process::try_wait(self.family)? {
            None if self.status.is_none() => process::try_wait(Children::One(self.daemon)),
            found => Ok(found),
        }
    }

    /// Waits until nobody of the process group is left but us. PID 1 that was asked to end does
    /// not: its own end is theirs.
    fn wait_for_the_rest(&mut self, signals: &Signals, events: Events<'_>) -> Result<(), Error> {
        if self.is_asked && Pid::current().get() == 1 {
            return Ok(());
        }
        let cannot = |error| Error::system("cannot wait for the process group", error);
        loop {
            self.bury(events)?;
            if self.is_asked && Pid::current().get() == 1 {
                return Ok(());
            }
            let Some(other) = members::another().map_err(cannot)? else {
                return Ok(());
            };
            // It may be gone, or a child of ours that has ended since: the next round tells.
            let handle = match PidFd::open(other) {
                Ok(handle) => Some(handle),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
                // No pidfds here: the signal that tells of a child's end has to do.
                Err(_) => None,
            };
            // Where somebody else is its parent and has buried it, the number may have become a stranger's
            // before the handle was opened: who is a member still is whom that means.
            if handle.is_some() && !members::is_one(other) {
                continue;
            }
            let sign = handle.as_ref().map(AsFd::as_fd);
            let [queue, stop] = signals.descriptors();
            let [signal, stop, _] = wait_readable([queue, stop, sign], None).map_err(cannot)?;
            if stop {
                stop_if_asked().map_err(cannot)?;
            }
            if signal && let Ok(arrival) = signals.queue.next() {
                if !FORWARDED.contains(&arrival.signal) {
                    continue;
                }
                let signal = arrival.signal;
                self.is_asked |= self.launch.config.settings().end_on.contains(&signal);
                events(Event::Forwarding(signal));
                // They are of our group, and have it already.
                if !arrival.is_typed() {
                    members::pass_on(signal, events).map_err(cannot)?;
                }
            }
        }
    }

    fn conclude(&mut self, events: Events<'_>) -> Result<Outcome, Error> {
        // The daemon is dead, and its locks are ours now if it died before it was announced.
        self.launch.pid_file = None;
        if let (Some(location), Some(inode)) = (&self.launch.config.location, self.launch.inode) {
            // After a SIGKILL, or of a daemon that has not the privileges to do it. What stays is
            // in nobody's way.
            let _ = pid_file::sweep(location, Origin::Daemon(inode));
        }
        let (Some(status), true) = (self.status, self.failure.is_none()) else {
            let failure = self.failure.take().unwrap_or(Failure::Death);
            return Err(self.watch.explain(failure, self.status));
        };
        if self.phase == Phase::SettingUp {
            return Err(self.watch.explain(Failure::Death, Some(status)));
        }
        if let Some(words) = self.watch.last_words() {
            events(Event::LastWords(words));
        }
        events(Event::AllGone);
        Ok(Outcome::Ended { status })
    }
}
