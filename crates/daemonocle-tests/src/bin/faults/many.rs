//! Two workers that are started together under faults, and what must be true afterwards of each.

use std::os::unix::process::ExitStatusExt;

use daemonocle_tests::{Fixture, Pid, Sandbox, is_alive};

use crate::sweep::patiently;
use crate::tracer::{self, Call, Fault, Job, Outcome};

const COUNT: usize = 2;

/// Starts them with this fault; what was seen, and the promises that it has broken.
pub(crate) fn run(plan: Option<(Call, Fault)>) -> (Outcome, Vec<String>) {
    let sandbox = Sandbox::new();
    let fixture = sandbox
        .fixture("polite")
        .set("multi", COUNT.to_string())
        .set("name", "worker_{n}")
        .set("pid_file", sandbox.path("worker_{n}.pid"))
        .set("ready", "3")
        .set("stop", "3")
        .unset("hook_log");
    let run = fixture.run(&["start"]);
    let job = Job { run: &run, sandbox: &sandbox, also: None, plan, signals: &[] };
    let outcome = tracer::run(&job).unwrap();
    let is_kill = matches!(plan, Some((_, Fault::Kill)));
    let mut crew = Crew { sandbox: &sandbox, fixture: &fixture, outcome: &outcome, broken: vec![] };
    // What cannot be written has not been told.
    let is_mute =
        outcome.met_command && outcome.met.is_some_and(|met| met.number == libc::SYS_write);
    match outcome.status {
        None => crew.say("it hangs"),
        Some(status) if (is_kill && outcome.met_command) || status.signal().is_some() => {}
        Some(_) if is_mute => {}
        Some(status) => crew.judge(status.code() == Some(0), is_kill),
    }
    crew.expect_agreement();
    crew.recover();
    let broken = crew.broken;
    (outcome, broken)
}

struct Crew<'a> {
    sandbox: &'a Sandbox,
    fixture: &'a Fixture<'a>,
    outcome: &'a Outcome,
    broken: Vec<String>,
}

impl Crew<'_> {
    fn say(&mut self, what: &str) {
        let how = self.outcome.status.map_or("no end".to_owned(), |status| status.to_string());
        let (stdout, stderr) = (self.sandbox.read("stdout"), self.sandbox.read("stderr"));
        self.broken.push(format!("{what} ({how}; {stdout:?}; {stderr:?})"));
    }

    /// The worker with this number, if it is alive.
    fn worker(&self, number: usize) -> Option<Pid> {
        let text = self.sandbox.read(&format!("worker_{number}.pid"));
        text.strip_suffix('\n')?.parse().ok().filter(|pid| is_alive(*pid))
    }

    /// What was told of each is so, unless somebody was killed, who may have been told of before.
    fn judge(&mut self, is_ok: bool, is_kill: bool) {
        let stdout = self.sandbox.read("stdout");
        if !is_ok && self.sandbox.read("stderr").is_empty() {
            self.say("it fails without a word");
        }
        for number in 0..COUNT {
            let told = |what| stdout.contains(&format!("Starting worker_{number} ... {what}\n"));
            let is_there = self.worker(number).is_some();
            if told("OK") && !is_there && !is_kill {
                self.say(&format!("OK, and there is no worker {number}"));
            }
            if !told("OK") && is_there {
                self.say(&format!("not OK, and there is a worker {number}"));
            }
            if is_ok && !told("OK") {
                self.say(&format!("a success, and nothing is told of worker {number}"));
            }
        }
    }

    /// What is told now is what there is.
    fn expect_agreement(&mut self) {
        let mut told = String::new();
        let agrees = patiently(|| {
            let mut workers: Vec<_> = (0..COUNT).filter_map(|number| self.worker(number)).collect();
            let mut survivors = self.sandbox.survivors();
            workers.sort_unstable();
            survivors.sort_unstable();
            told = self.fixture.status().stdout;
            let is_told = |number: usize| told.contains(&format!("worker_{number} -- pid: "));
            let is_so = |number: usize| is_told(number) == self.worker(number).is_some();
            workers == survivors && (0..COUNT).all(is_so)
        });
        if !agrees {
            let survivors = self.sandbox.survivors();
            self.say(&format!("there are {survivors:?}, and it is told: {told:?}"));
        }
    }

    /// Whatever has happened, plain commands work.
    fn recover(&mut self) {
        let start = self.fixture.start();
        if start.code() != Some(0) || (0..COUNT).any(|number| self.worker(number).is_none()) {
            self.say(&format!("no start afterwards: {start:?}"));
        }
        let stop = self.fixture.stop();
        if stop.code() != Some(0) {
            self.say(&format!("no stop afterwards: {stop:?}"));
        }
        if !patiently(|| self.sandbox.survivors().is_empty()) {
            let survivors = self.sandbox.survivors();
            self.say(&format!("a stop afterwards has left {survivors:?}"));
        }
        if self.sandbox.names().iter().any(|name| name.ends_with(".pid")) {
            self.say("a stop afterwards has left a PID file");
        }
    }
}
