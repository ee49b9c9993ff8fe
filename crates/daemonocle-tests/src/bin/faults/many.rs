//! Two workers under faults, and what must be true afterwards of each.

use std::os::unix::process::ExitStatusExt;

use daemonocle_tests::{Fixture, Pid, Sandbox, is_alive};

use crate::scenario::Action;
use crate::sweep::patiently;
use crate::tracer::{self, Call, Fault, Job, Outcome};
use crate::words::{dies_by_itself, has_reason, panicked};

const COUNT: usize = 2;

impl Action {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Start => &["start"],
            Self::Stop => &["stop"],
            Self::Restart => &["restart"],
            Self::Status => &["status", "--fields", "pid,num_threads"],
            Self::Reload => &["reload"],
        }
    }
}

/// Does this with both, with this fault; what was seen, and the promises that it has broken.
pub(crate) fn run(action: Action, plan: Option<(Call, Fault)>) -> (Outcome, Vec<String>) {
    let sandbox = Sandbox::new();
    let fixture = sandbox
        .fixture("polite")
        .set("multi", COUNT.to_string())
        .set("name", "worker_{n}")
        .set("pid_file", sandbox.path("worker_{n}.pid"))
        .set("on_hup", "yes")
        .set("ready", "3")
        .set("stop", "3")
        .unset("hook_log");
    if action != Action::Start {
        let start = fixture.start();
        assert_eq!(start.code(), Some(0), "{start:?}");
    }
    let before = [0, 1].map(|number| worker(&sandbox, number));
    let run = fixture.run(action.arguments());
    let also = before.into_iter().flatten().collect();
    let job = Job { run: &run, sandbox: &sandbox, also, plan, signals: &[] };
    let outcome = tracer::run(&job).unwrap();
    let is_kill = matches!(plan, Some((_, Fault::Kill)));
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| sandbox.read(name));
    let mut crew = Crew {
        action,
        sandbox: &sandbox,
        fixture: &fixture,
        before,
        outcome: &outcome,
        is_kill,
        stdout,
        stderr,
        broken: Vec::new(),
    };
    crew.judge();
    crew.expect_agreement();
    crew.recover();
    let broken = crew.broken;
    (outcome, broken)
}

/// The worker with this number, if it is alive.
fn worker(sandbox: &Sandbox, number: usize) -> Option<Pid> {
    let text = sandbox.read(&format!("worker_{number}.pid"));
    text.strip_suffix('\n')?.parse().ok().filter(|pid| is_alive(*pid))
}

struct Crew<'a> {
    action: Action,
    sandbox: &'a Sandbox,
    fixture: &'a Fixture<'a>,
    before: [Option<Pid>; COUNT],
    outcome: &'a Outcome,
    /// Whether somebody was killed, who may have been told of before.
    is_kill: bool,
    stdout: String,
    stderr: String,
    broken: Vec<String>,
}

impl Crew<'_> {
    fn say(&mut self, what: &str) {
        let Self { outcome, stdout, stderr, .. } = self;
        let how = outcome.status.map_or("no end".to_owned(), |status| status.to_string());
        self.broken.push(format!("{what} ({how}; {stdout:?}; {stderr:?})"));
    }

    fn judge(&mut self) {
        let Outcome { met_command, met, .. } = *self.outcome;
        let Some(status) = self.outcome.status else { return self.say("it hangs") };
        match (status.code(), status.signal()) {
            _ if self.is_kill && met_command => {}
            // What cannot be written has not been told.
            _ if met_command && met.is_some_and(|met| met.number == libc::SYS_write) => {}
            _ if dies_by_itself(self.outcome, status, &self.stderr) => {}
            (Some(code), _) => self.judge_words(code),
            _ => self.say("it has died"),
        }
    }

    /// What was told of each is so, unless somebody was killed, who may have been told of before.
    fn judge_words(&mut self, code: i32) {
        let is_explained = has_reason(&self.stderr);
        if panicked(&self.stderr) {
            self.say("it has panicked");
        }
        // That a worker has died is an answer of `status`, and a warning of `reload`.
        let is_told_missing = match self.action {
            Action::Status => self.stdout.contains("not running"),
            Action::Reload => self.stderr.contains("is not running"),
            _ => false,
        };
        if code != 0 && !is_explained && !is_told_missing {
            self.say("it fails without a word");
        }
        if code == 0 && is_explained {
            self.say("it succeeds, and there is an error");
        }
        for number in 0..COUNT {
            self.judge_worker(code == 0, number);
        }
    }

    fn judge_worker(&mut self, is_ok: bool, number: usize) {
        let (now, before) = (worker(self.sandbox, number), self.before[number]);
        let told = |verb: &str, what: &str| {
            self.stdout.contains(&format!("{verb} worker_{number} ... {what}\n"))
        };
        let warning = format!("WARNING: worker_{number} is not running\n");
        let was_nobody = self.stderr.contains(&warning);
        let is_changed = now.is_some() && now != before;
        let verb = match self.action {
            Action::Start | Action::Restart => "Starting",
            Action::Stop => "Stopping",
            Action::Reload => "Reloading",
            Action::Status => return self.judge_status(is_ok, number),
        };
        let is_done = told(verb, "OK");
        let what = match self.action {
            _ if is_ok && !is_done && !was_nobody => "a success, and nothing is told of",
            _ if was_nobody && !self.is_kill => "nobody, and there was",
            Action::Start if is_done && now.is_none() && !self.is_kill => "OK, and there is no",
            Action::Start if !is_done && now.is_some() => "not OK, and there is",
            Action::Stop if is_done && now.is_some() => "OK, and there is",
            Action::Restart | Action::Reload if is_done && !is_changed && !self.is_kill => {
                "OK, and there is no new"
            }
            Action::Reload if !is_done && now.is_none() && !self.is_kill => {
                "not OK, and there is no more"
            }
            _ => return,
        };
        self.say(&format!("{what} worker {number}"));
    }

    fn judge_status(&mut self, is_ok: bool, number: usize) {
        let start = format!("worker_{number} -- ");
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(&start));
        let (line, before) = (line.map(str::to_owned), self.before[number]);
        let pid = line.as_deref().and_then(|line| line.strip_prefix("pid: ")?.split_once(','));
        let what = match line.as_deref() {
            Some("not running") if !self.is_kill => "not running, and there is",
            Some("not running") => return,
            Some("unknown") if !is_ok => return,
            Some(_) if pid.and_then(|(pid, _)| pid.parse().ok()) != before => "another PID for",
            None if is_ok => "a success, and nothing is told of",
            _ => return,
        };
        self.say(&format!("{what} worker {number}"));
    }

    /// What is told now is what there is.
    fn expect_agreement(&mut self) {
        let mut told = String::new();
        let agrees = patiently(|| {
            let workers = [0, 1].map(|number| worker(self.sandbox, number));
            let mut alive: Vec<_> = workers.into_iter().flatten().collect();
            let mut survivors = self.sandbox.survivors();
            alive.sort_unstable();
            survivors.sort_unstable();
            told = self.fixture.status().stdout;
            let is_told = |number: usize| told.contains(&format!("worker_{number} -- pid: "));
            alive == survivors
                && (0..COUNT).all(|number| is_told(number) == workers[number].is_some())
        });
        if !agrees {
            let survivors = self.sandbox.survivors();
            self.say(&format!("there are {survivors:?}, and it is told: {told:?}"));
        }
    }

    /// Whatever has happened, plain commands work.
    fn recover(&mut self) {
        let start = self.fixture.start();
        if start.code() != Some(0) || [0, 1].iter().any(|&it| worker(self.sandbox, it).is_none()) {
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
