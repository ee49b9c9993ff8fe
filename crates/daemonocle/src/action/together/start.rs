//! `start` for many: they come up at the same time, in one session, and one process waits for all of them.
//!
//! Each is what a daemon by itself is, and comes up as one. But none is accepted before it is certain of
//! all of them what becomes of them: whoever kills the command has killed the whole start.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::config::{Config, Settings};
use crate::error::{Error, Kind};
use crate::pid_file::claim_all;
use crate::startup::Starter;
use crate::sys::epoll::Many;
use crate::sys::fd::{Numbers, deadline_in, ensure_standard_streams, has_passed, wait_readable};
use crate::sys::process::{self, Fork, MoreFiles, Pid, PidFd, SingleThreaded};

use super::super::guardian::{self, Order, Reins};
use super::super::start::{
    Launch, Lines, Prepared, Subject, bury, check_worker, dismiss, is_detaching, make_leash,
    open_null,
};
use super::super::watch::{Failure, Step, Watch};
use super::super::{Event, Outcome, Start, Verb, cannot};
use super::{EventsOfMany, Outcomes, allow_files, check_together};

/// How many files are open for each: the PID file, its directory, and what its sign is on there, two for the
/// channel, two for standard error.
const FILES: u64 = 7;

/// Whether all of these could be started.
pub(crate) fn check_start(
    all: &[Settings],
    subject: &Subject,
    how: Start,
) -> Result<(Vec<Config>, SingleThreaded), Error> {
    let Some(first) = all.first() else {
        return Err(Error::usage("there is no worker to start"));
    };
    if how.foreground || !is_detaching(first.detach) {
        return Err(Error::usage(format!(
            "{} workers cannot share the foreground: start one of them there (--worker-id), or let them \
             detach",
            all.len()
        )));
    }
    let proof = check_worker(first, subject).map_err(|error| error.about(&first.name))?;
    Ok((check_together(all)?, proof))
}

/// Starts all of these. An error is about all of them, and none is started then.
pub(crate) fn start_together(
    all: &[Settings],
    subject: &Subject,
    how: Start,
    events: EventsOfMany<'_>,
) -> Result<Outcomes, Error> {
    let (configs, proof) = check_start(all, subject, how)?;
    subject.adopt_sockets(proof)?;
    let more_files = allow_files("start", FILES, all.len())?;
    ensure_standard_streams().map_err(|error| cannot("open /dev/null", error))?;
    let mut launches = Vec::new();
    let mut results = Vec::new();
    let mut warnings = Vec::new();
    let located = configs.iter().filter_map(|config| Some((config.location.as_ref()?, config)));
    let mut claims = claim_all(located).into_iter();
    for (place, config) in configs.into_iter().enumerate() {
        let claim = if config.location.is_some() { claims.next() } else { None };
        let mut warning = None;
        let result = match claim.transpose().map(|claim| Launch::of(config, claim, proof)) {
            Ok(Prepared::Launch(launch)) => {
                warning = launch.warning();
                launches.push((place, launch));
                None
            }
            Ok(Prepared::Running(pid)) => Some(Ok(Outcome::AlreadyRunning { pid })),
            Err(error) => Some(Err(error)),
        };
        results.push(result);
        warnings.push(warning);
    }
    if !launches.is_empty() {
        for (place, outcome) in Crew::launch(launches, subject, proof, &more_files)? {
            if let Some(result) = results.get_mut(place) {
                *result = Some(outcome);
            }
        }
    }
    let results: Outcomes = results.into_iter().flatten().collect();
    for (((place, result), settings), warning) in results.iter().enumerate().zip(all).zip(warnings)
    {
        if let Some(warning) = warning {
            events(place, Event::Warning(warning));
        }
        if let Ok(Outcome::AlreadyRunning { pid }) = result {
            let name = &settings.name;
            events(place, Event::Warning(format!("{name} already running with PID {pid}")));
        } else {
            events(place, Event::Begin(Verb::Start));
            events(place, result.as_ref().map_or_else(Event::Failed, |_| Event::Done));
        }
    }
    Ok(results)
}

/// Daemons that come up together.
struct Crew {
    members: Vec<Member>,
    many: Many,
    reins: Reins,
    /// The guardian; `None` where there are no pidfds, or when it is dead.
    handle: Option<PidFd>,
}

struct Member {
    /// In the list of all workers.
    place: usize,
    launch: Launch,
    watch: Watch,
    state: State,
    /// Whether its channel and its standard error are waited for.
    is_heard: [bool; 2],
}

/// What has come of a member, with its place in the list of all workers.
type Placed = (usize, Result<Outcome, Error>);

/// What a start has of a new daemon: its channel, and its standard error.
type Ends = (Starter, Option<OwnedFd>);

/// What there is when the guardian has been made.
struct Made {
    ends: Vec<Ends>,
    many: Many,
    reins: Reins,
}

enum State {
    Coming,
    /// It has started, under this number, and is to be accepted.
    Certain(Pid),
    /// It has not, and is on its way out.
    Leaving(Failure),
    Failed(Error),
}

/// What is waited for by a number: the channel, or standard error, of a member.
fn number_of(member: usize, what: usize) -> u64 {
    (member * 2 + what) as u64
}

/// The number of the guardian's death.
const GUARDIAN: u64 = u64::MAX;

impl Crew {
    /// What has come of each, with its place in the list.
    fn launch(
        mut launches: Vec<(usize, Launch)>,
        subject: &Subject,
        proof: SingleThreaded,
        more_files: &MoreFiles,
    ) -> Result<Vec<Placed>, Error> {
        let made = Self::make(&mut launches, subject, proof, more_files);
        let clear_away = |_: &Error| launches.iter().for_each(|(_, launch)| launch.clear_away());
        let Made { ends, many, reins } = made.inspect_err(clear_away)?;
        let members = launches.into_iter().zip(ends);
        let members = members.map(|((place, launch), (starter, errors))| Member {
            place,
            watch: Watch::among_others(&launch.config, starter, errors),
            launch,
            state: State::Coming,
            is_heard: [false; 2],
        });
        let guardian = reins.guardian;
        let handle = PidFd::open(guardian).ok();
        let mut crew = Self { members: members.collect(), many, reins, handle };
        crew.watch();
        let outcomes = crew.conclude();
        dismiss(guardian);
        drop(crew);
        bury(guardian);
        Ok(outcomes)
    }

    /// Makes the guardian, which makes them. After an error there is nobody.
    fn make(
        launches: &mut [(usize, Launch)],
        subject: &Subject,
        proof: SingleThreaded,
        more_files: &MoreFiles,
    ) -> Result<Made, Error> {
        let null = open_null()?;
        let lines = launches.iter().map(|(_, launch)| launch.connect());
        let lines: Vec<Lines> = lines.collect::<Result<_, _>>()?;
        let (leash, hold) = make_leash()?;
        let many = Many::new().map_err(|error| cannot("wait for many", error))?;
        process::flush_streams();
        let guardian = match process::fork(proof).map_err(|error| cannot("fork", error))? {
            Fork::Child => {
                // Those that are closed now among them, or each number would be a gap.
                let claims = launches.iter().filter_map(|(_, launch)| launch.pid_file.as_ref());
                let claims = claims.flat_map(|pid_file| pid_file.descriptors());
                let all = lines.iter().flat_map(Lines::descriptors).chain(claims);
                let all = Numbers::of(all.chain([leash.as_fd(), hold.as_fd()]));
                drop((hold, many));
                more_files.give_back();
                let seeds = launches.iter_mut().zip(lines).map(|((_, launch), lines)| {
                    let Lines { starter, newborn, errors } = lines;
                    drop(starter);
                    launch.seed(newborn, errors)
                });
                let seeds: Vec<_> = seeds.collect();
                guardian::run(seeds, subject, null, leash, Some(&all), proof)
            }
            Fork::Parent(pid) => pid,
        };
        let ours = |lines: Lines| (lines.starter, lines.errors.map(|pipe| pipe.read));
        let reins = Reins { hold, guardian };
        Ok(Made { ends: lines.into_iter().map(ours).collect(), many, reins })
    }

    /// Waits until it is certain of all of them what becomes of them.
    fn watch(&mut self) {
        for index in 0..self.members.len() {
            self.tune(index);
        }
        if let Some(guardian) = &self.handle {
            // Without this, the end of the channels tells of its death.
            let _ = self.many.add(guardian.as_fd(), GUARDIAN);
        }
        while let Some(deadline) = self.deadline() {
            match self.many.wait(deadline) {
                Ok(numbers) => numbers.into_iter().for_each(|number| self.on_news(number)),
                Err(error) => return self.give_up(&error),
            }
            if has_passed(deadline) {
                for index in 0..self.members.len() {
                    self.on_time(index);
                }
            }
        }
    }

    /// Until when to wait, if anybody is to be waited for.
    fn deadline(&self) -> Option<Option<Instant>> {
        let mut waiting = self.members.iter().filter(|member| member.is_waited_for()).peekable();
        waiting.peek()?;
        Some(waiting.filter_map(|member| member.watch.deadline()).min())
    }

    fn on_news(&mut self, number: u64) {
        if number == GUARDIAN {
            if let Some(guardian) = self.handle.take() {
                let _ = self.many.remove(guardian.as_fd());
            }
            for index in 0..self.members.len() {
                // It has nothing left to do when all are dead, and then they have told why.
                self.hear_out(index);
                if let Some(member) = self.members.get(index) {
                    let step = member.watch.on_guardians_death();
                    self.on_step(index, step);
                }
            }
            return;
        }
        let Ok(number) = usize::try_from(number) else { return };
        let (index, what) = (number / 2, number % 2);
        if let Some(member) = self.members.get_mut(index)
            && member.is_heard.get(what) == Some(&true)
        {
            let step = member.watch.take(what == 0, what == 1);
            self.on_step(index, step);
            self.tune(index);
        }
    }

    /// Takes all that a member has told until now.
    fn hear_out(&mut self, index: usize) {
        while let Some(member) = self.members.get_mut(index)
            && let Some(talk) = member.watch.talk()
            && let Ok([true]) = wait_readable([Some(talk)], deadline_in(Duration::ZERO))
        {
            let step = member.watch.take(true, false);
            self.on_step(index, step);
        }
    }

    fn on_step(&mut self, index: usize, step: Result<Step, Failure>) {
        let Some(member) = self.members.get_mut(index) else { return };
        if let State::Coming | State::Certain(_) = member.state {
            match step.and_then(|step| member.watch.judge(step)) {
                Ok(Some(pid)) => member.state = State::Certain(pid),
                Ok(None) => {}
                Err(failure) => {
                    member.watch.begin_to_put_down(|order| order.give(&self.reins, index));
                    member.state = State::Leaving(failure);
                }
            }
        }
        if member.watch.is_over() {
            member.settle(self.reins.guardian);
        }
    }

    /// Looks whether what a member waits for has come too late.
    fn on_time(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        if !member.is_waited_for() || !member.watch.is_late() {
            return;
        }
        match member.state {
            State::Coming => {
                let step = member.watch.hear_out();
                self.on_step(index, step);
            }
            _ if member.watch.insist(|order| order.give(&self.reins, index)) => {}
            _ => member.settle(self.reins.guardian),
        }
        self.tune(index);
    }

    /// Waits for all that may come of a member, and for nothing else.
    fn tune(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        let is_wanted = !matches!(member.state, State::Failed(_));
        let watch = &member.watch;
        let wanted = [watch.talk().is_some(), watch.errors().is_some()].map(|it| it && is_wanted);
        let all = member.watch.descriptors().into_iter().zip(&mut member.is_heard).zip(wanted);
        for (what, ((fd, is_heard), wanted)) in all.enumerate() {
            if let Some(fd) = fd.filter(|_| *is_heard != wanted) {
                let done = match wanted {
                    true => self.many.add(fd, number_of(index, what)),
                    false => self.many.remove(fd),
                };
                *is_heard = wanted == done.is_ok();
            }
        }
    }

    /// There is no waiting any more: better no daemon than one unattended.
    fn give_up(&mut self, error: &io::Error) {
        let code = error.raw_os_error().unwrap_or(libc::EIO);
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.is_waited_for() {
                member.watch.put_down(|order| order.give(&self.reins, index));
                let error = io::Error::from_raw_os_error(code);
                member.state = State::Leaving(Failure::System("wait for the daemons", error));
                member.settle(self.reins.guardian);
            }
        }
    }

    /// Accepts those that have started, and tells of each what has become of it.
    fn conclude(&mut self) -> Vec<Placed> {
        let Self { members, reins, .. } = self;
        let conclude = |(index, mut member): (usize, Member)| {
            if let State::Certain(pid) = member.state {
                match member.launch.announce(&mut member.watch, pid) {
                    Ok(pid) => {
                        let pid = member.watch.public_pid(pid);
                        return (member.place, Ok(Outcome::Started { pid }));
                    }
                    Err(failure) => {
                        member.watch.put_down(|order: Order| order.give(reins, index));
                        member.state = State::Leaving(failure);
                    }
                }
            }
            member.settle(reins.guardian);
            let error = match member.state {
                State::Failed(error) => error,
                _ => Error::new(Kind::Start, "nobody saw what has become of it"),
            };
            (member.place, Err(error))
        };
        std::mem::take(members).into_iter().enumerate().map(conclude).collect()
    }
}

impl Member {
    /// Whether it has not come to anything yet.
    fn is_waited_for(&self) -> bool {
        matches!(self.state, State::Coming | State::Leaving(_))
    }

    /// Clears away what is left of one whose start has failed.
    fn settle(&mut self, guardian: Pid) {
        self.state = match std::mem::replace(&mut self.state, State::Coming) {
            State::Leaving(failure) => {
                self.watch.end_unguarded(guardian);
                self.watch.drain();
                self.launch.clear_away();
                State::Failed(self.watch.explain(failure, None))
            }
            other => other,
        };
    }
}
