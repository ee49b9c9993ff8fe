//! Somebody who commands, kills and holds, without knowing of the others.

use std::thread;
use std::time::Duration;

use daemonocle_tests::{Fixture, Pid, Run, Sandbox, stat};
use rustix::process::Signal;

use crate::answer::Answer;
use crate::lives::{Moment, now};

/// What somebody has done, and when.
#[derive(Clone)]
pub(crate) struct Deed {
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
    pub(crate) what: What,
    /// To one of many workers only.
    pub(crate) worker: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A command, and its answer; `None`: it was killed meanwhile.
    Command(&'static [&'static str], Option<Answer>),
    /// The daemon was sent a KILL.
    Kill,
    /// The PID file was deleted.
    Delete,
}

impl Deed {
    pub(crate) fn is_kill(&self) -> bool {
        matches!(self.what, What::Kill)
    }

    pub(crate) fn is_killed(&self) -> bool {
        matches!(self.what, What::Command(_, None))
    }

    /// As it concerns this worker; `None`: it does not.
    pub(crate) fn about(&self, crew: Crew, worker: usize) -> Option<Self> {
        if self.worker.is_some_and(|its| its != worker) {
            return None;
        }
        let what = match &self.what {
            What::Command(words, Some(answer)) if crew.is_many() => {
                let answer = answer.about(&crew.name(worker), self.worker.is_some());
                What::Command(words, Some(answer))
            }
            other => other.clone(),
        };
        Some(Self { what, ..*self })
    }
}

/// A daemon by itself, or many workers.
#[derive(Clone, Copy)]
pub(crate) struct Crew {
    pub(crate) workers: Option<usize>,
}

impl Crew {
    pub(crate) fn is_many(self) -> bool {
        self.workers.is_some()
    }

    pub(crate) fn count(self) -> usize {
        self.workers.unwrap_or(1)
    }

    pub(crate) fn name(self, worker: usize) -> String {
        match self.workers {
            Some(_) => format!("worker_{worker}"),
            None => "example".to_owned(),
        }
    }

    /// The file name of its PID file.
    fn pid_file(self, worker: usize) -> String {
        format!("{}.pid", self.name(worker))
    }

    /// The living or dead process that its PID file names.
    pub(crate) fn pid(self, sandbox: &Sandbox, worker: usize) -> Option<Pid> {
        sandbox.read(&self.pid_file(worker)).strip_suffix('\n')?.parse().ok()
    }

    pub(crate) fn has_pid_files(self, sandbox: &Sandbox) -> bool {
        (0..self.count()).any(|worker| sandbox.path(&self.pid_file(worker)).exists())
    }
}

/// Enough chance for a storm, and the same every time: Lehmer's generator.
struct Dice(u64);

impl Dice {
    /// From 0 to below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0 * 48271 % 0x7fff_ffff;
        self.0 % sides
    }
}

pub(crate) struct Client<'a> {
    fixture: Fixture<'a>,
    crew: Crew,
    dice: Dice,
}

impl<'a> Client<'a> {
    pub(crate) fn new(fixture: Fixture<'a>, crew: Crew, seed: u64) -> Self {
        Self { fixture, crew, dice: Dice(seed) }
    }

    pub(crate) fn run(mut self, operations: u64) -> Vec<Deed> {
        (0..operations).filter_map(|_| self.act()).collect()
    }

    fn act(&mut self) -> Option<Deed> {
        const START: &[&str] = &["start"];
        let chosen = self.dice.roll(self.crew.count() as u64) as usize;
        // A command may be for all of them.
        let some = (self.crew.is_many() && self.dice.roll(2) == 0).then_some(chosen);
        let begin = now();
        let (what, worker) = match self.dice.roll(25) {
            0..7 => (self.command(START, some), some),
            7..9 => (self.command(&["stop"], some), some),
            9 => (self.command(&["stop", "--timeout", "0"], some), some),
            10 => (self.command(&["stop", "--timeout", "0", "--force"], some), some),
            11 => (self.command(&["stop", "--force"], some), some),
            12..14 => (self.command(&["restart"], some), some),
            14..17 => (self.command(&["status"], some), some),
            17..19 => (self.command(&["reload"], some), some),
            19 => (self.killed(START, some), some),
            20 => (self.killed(&["restart"], some), some),
            21 => (self.killed(&["reload"], some), some),
            22 => (self.kill(chosen)?, Some(chosen)),
            23 => (self.delete(chosen)?, Some(chosen)),
            _ => return self.hold(chosen),
        };
        Some(Deed { begin, end: now(), what, worker })
    }

    fn run_for(&self, words: &[&str], worker: Option<usize>) -> Run {
        let run = self.fixture.run(words);
        match worker {
            Some(worker) => run.args(&["--worker-id", &worker.to_string()]),
            None => run,
        }
    }

    fn command(&self, words: &'static [&'static str], worker: Option<usize>) -> What {
        What::Command(words, Answer::of(&self.run_for(words, worker).finish()))
    }

    /// A command that is killed after a while, if it has not ended before.
    fn killed(&mut self, words: &'static [&'static str], worker: Option<usize>) -> What {
        let mut running = self.run_for(words, worker).spawn();
        thread::sleep(Duration::from_micros(self.dice.roll(20_000)));
        if running.is_running() {
            // It has not been waited for, and so is not somebody else.
            let _ = self.fixture.sandbox().try_signal(running.pid(), Signal::KILL);
        }
        What::Command(words, Answer::of(&running.finish()))
    }

    /// The process that the PID file names, if it is a daemon: it leads its group, and no session. Another one
    /// of the storm's may have the number by now.
    fn daemon(&self, worker: usize) -> Option<Pid> {
        let stat = stat(self.crew.pid(self.fixture.sandbox(), worker)?)?;
        (stat.group == stat.pid && stat.session != stat.pid).then_some(stat.pid)
    }

    /// Any moment may be the daemon's last; somebody else may have been faster.
    fn kill(&self, worker: usize) -> Option<What> {
        self.fixture.sandbox().try_signal(self.daemon(worker)?, Signal::KILL).ok()?;
        Some(What::Kill)
    }

    /// As a cleaner of temporary files does, whether there is a daemon or not.
    fn delete(&self, worker: usize) -> Option<What> {
        let name = self.crew.pid_file(worker);
        std::fs::remove_file(self.fixture.sandbox().path(&name)).ok()?;
        Some(What::Delete)
    }

    /// Stops the daemon for a moment, wherever it is.
    fn hold(&mut self, worker: usize) -> Option<Deed> {
        let sandbox = self.fixture.sandbox();
        let pid = self.daemon(worker)?;
        sandbox.try_signal(pid, Signal::STOP).ok()?;
        thread::sleep(Duration::from_micros(self.dice.roll(30_000)));
        let _ = sandbox.try_signal(pid, Signal::CONT);
        None
    }
}
