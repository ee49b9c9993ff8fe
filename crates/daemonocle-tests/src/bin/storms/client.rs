//! Somebody who commands, kills and holds, without knowing of the others.

use std::thread;
use std::time::Duration;

use daemonocle_tests::{Fixture, Output};
use rustix::process::Signal;

use crate::lives::{Moment, now};

/// What somebody has done, and when.
pub(crate) struct Deed {
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A command, and its answer; `None`: it was killed meanwhile.
    Command(&'static [&'static str], Option<Output>),
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
    dice: Dice,
}

impl<'a> Client<'a> {
    pub(crate) fn new(fixture: Fixture<'a>, seed: u64) -> Self {
        Self { fixture, dice: Dice(seed) }
    }

    pub(crate) fn run(mut self, operations: u64) -> Vec<Deed> {
        (0..operations).filter_map(|_| self.act()).collect()
    }

    fn act(&mut self) -> Option<Deed> {
        const START: &[&str] = &["start"];
        let begin = now();
        let what = match self.dice.roll(25) {
            0..7 => self.command(START),
            7..9 => self.command(&["stop"]),
            9 => self.command(&["stop", "--timeout", "0"]),
            10 => self.command(&["stop", "--timeout", "0", "--force"]),
            11 => self.command(&["stop", "--force"]),
            12..14 => self.command(&["restart"]),
            14..17 => self.command(&["status"]),
            17..19 => self.command(&["reload"]),
            19 => self.killed(START),
            20 => self.killed(&["restart"]),
            21 => self.killed(&["reload"]),
            22 => self.kill()?,
            23 => self.delete()?,
            _ => return self.hold(),
        };
        Some(Deed { begin, end: now(), what })
    }

    fn command(&self, words: &'static [&'static str]) -> What {
        What::Command(words, Some(self.fixture.run(words).finish()))
    }

    /// A command that is killed after a while, if it has not ended before.
    fn killed(&mut self, words: &'static [&'static str]) -> What {
        let mut running = self.fixture.run(words).spawn();
        thread::sleep(Duration::from_micros(self.dice.roll(20_000)));
        let pid = running.pid();
        let was_running = running.is_running();
        if was_running {
            // It has not been waited for, and so is not somebody else.
            let _ = self.fixture.sandbox().try_signal(pid, Signal::KILL);
        }
        let output = running.finish();
        What::Command(words, (output.signal() != Some(9)).then_some(output))
    }

    /// Any moment may be the daemon's last; somebody else may have been faster.
    fn kill(&self) -> Option<What> {
        let pid = self.fixture.pid()?;
        self.fixture.sandbox().try_signal(pid, Signal::KILL).ok()?;
        Some(What::Kill)
    }

    /// As a cleaner of temporary files does, whether there is a daemon or not.
    fn delete(&self) -> Option<What> {
        std::fs::remove_file(self.fixture.pid_file()).ok()?;
        Some(What::Delete)
    }

    /// Stops the daemon for a moment, wherever it is.
    fn hold(&mut self) -> Option<Deed> {
        let pid = self.fixture.pid()?;
        let sandbox = self.fixture.sandbox();
        sandbox.try_signal(pid, Signal::STOP).ok()?;
        thread::sleep(Duration::from_micros(self.dice.roll(30_000)));
        let _ = sandbox.try_signal(pid, Signal::CONT);
        None
    }
}
