//! What is done under faults, and what must be true afterwards.

use std::os::unix::process::ExitStatusExt;

use daemonocle_tests::{Fixture, Pid, Sandbox, address, ask, is_alive, serving, stat};

use crate::many;
use crate::sweep::patiently;
use crate::tracer::{self, Call, Fault, Job, Outcome};

/// A command, and the state in which it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Start,
    Stop,
    Restart,
    Status,
    Reload,
    Foreground,
    /// One that reloads.
    ForegroundReload,
    /// One of a program.
    ForegroundProgram,
    /// A start of two workers.
    Multi,
    /// A restart of a daemon that is a program.
    Program,
    /// A reload of a daemon with sockets.
    Server,
}

pub(crate) const ALL: [Scenario; 11] = [
    Scenario::Start,
    Scenario::Stop,
    Scenario::Restart,
    Scenario::Status,
    Scenario::Reload,
    Scenario::Foreground,
    Scenario::ForegroundReload,
    Scenario::ForegroundProgram,
    Scenario::Multi,
    Scenario::Program,
    Scenario::Server,
];

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::Foreground => "foreground",
            Self::ForegroundReload => "foreground-reload",
            Self::ForegroundProgram => "foreground-program",
            Self::Multi => "multi",
            Self::Program => "program",
            Self::Server => "server",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Start | Self::Multi => &["start"],
            Self::Stop => &["stop"],
            Self::Restart | Self::Program => &["restart"],
            Self::Status => &["status", "--fields", "pid,num_threads"],
            Self::Reload | Self::Server => &["reload"],
            Self::Foreground | Self::ForegroundReload | Self::ForegroundProgram => {
                &["start", "--debug"]
            }
        }
    }

    /// Whether a daemon is running before.
    fn begins_with_daemon(self) -> bool {
        !matches!(self, Self::Start | Self::Multi) && self.signals().is_empty()
    }

    /// What the command is sent when nothing happens any more.
    fn signals(self) -> &'static [i32] {
        match self {
            Self::Foreground | Self::ForegroundProgram => &[libc::SIGTERM],
            Self::ForegroundReload => &[libc::SIGHUP, libc::SIGTERM],
            _ => &[],
        }
    }

    /// Whether the daemon is a program, which is kept by a process of its own.
    fn is_program(self) -> bool {
        matches!(self, Self::Program | Self::ForegroundProgram)
    }

    fn fixture(self, sandbox: &Sandbox) -> Fixture<'_> {
        let fixture = match self {
            Self::Program | Self::ForegroundProgram => {
                return sandbox.fixture("").set("exec", "sleep\n600").set("stop", "3");
            }
            Self::Server => {
                let local = sandbox.path("socket");
                serving(sandbox, &format!("web 127.0.0.1:0\nlocal {}\n", local.display()))
            }
            _ => sandbox.fixture("polite").set("on_hup", "yes"),
        };
        fixture.set("ready", "3").set("stop", "3")
    }

    /// Runs it with this fault; what was seen, and the promises that it has broken.
    pub(crate) fn run(self, plan: Option<(Call, Fault)>) -> (Outcome, Vec<String>) {
        if self == Self::Multi {
            return many::run(plan);
        }
        let sandbox = Sandbox::new();
        let fixture = self.fixture(&sandbox);
        let before = self.begins_with_daemon().then(|| fixture.started());
        let run = fixture.run(self.arguments());
        let keeper = |program| stat(program).map(|program| program.parent);
        let also = if self.is_program() { before.and_then(keeper) } else { before };
        let signals = self.signals();
        let job = Job { run: &run, sandbox: &sandbox, also, plan, signals };
        let outcome = tracer::run(&job).unwrap();
        let end = End::of(self, &sandbox, &fixture, before, &outcome, plan);
        let broken = end.broken();
        (outcome, broken)
    }
}

/// How a run has ended, and what is there then.
struct End<'a> {
    scenario: Scenario,
    fixture: &'a Fixture<'a>,
    sandbox: &'a Sandbox,
    before: Option<Pid>,
    outcome: &'a Outcome,
    /// Whether somebody was killed.
    is_kill: bool,
    /// Whether that was the command itself, which then has promised nothing.
    is_killed: bool,
    stdout: String,
    stderr: String,
    broken: Vec<String>,
}

impl<'a> End<'a> {
    fn of(
        scenario: Scenario,
        sandbox: &'a Sandbox,
        fixture: &'a Fixture<'a>,
        before: Option<Pid>,
        outcome: &'a Outcome,
        plan: Option<(Call, Fault)>,
    ) -> Self {
        let is_kill = matches!(plan, Some((_, Fault::Kill)));
        Self {
            scenario,
            fixture,
            sandbox,
            before,
            outcome,
            is_kill,
            is_killed: is_kill && outcome.met_command,
            stdout: sandbox.read("stdout"),
            stderr: sandbox.read("stderr"),
            broken: Vec::new(),
        }
    }

    fn say(&mut self, what: &str) {
        let Self { outcome, stdout, stderr, .. } = self;
        let how = outcome.status.map_or("no end".to_owned(), |status| status.to_string());
        self.broken.push(format!("{what} ({how}; {stdout:?}; {stderr:?})"));
    }

    fn broken(mut self) -> Vec<String> {
        match self.outcome.status {
            // In the foreground it waits for whom it cannot end, and says so.
            None if self.stderr.contains("WARNING: cannot send SIGTERM (15) to process") => {
                // It was killed for that, and the daemon goes with it.
                self.expect_nobody("the foreground was killed");
            }
            None => self.say("it hangs"),
            Some(status) if self.is_killed || status.signal().is_some() => self.expect_agreement(),
            Some(status) => self.judge(status.code().unwrap_or(-1)),
        }
        self.recover();
        self.broken
    }

    /// The process that is the daemon by its PID file, if it is alive.
    fn daemon(&self) -> Option<Pid> {
        self.fixture.pid().filter(|pid| is_alive(*pid))
    }

    fn judge(&mut self, code: i32) {
        let is_ok = code == 0;
        if !is_ok && self.stderr.is_empty() && !self.stdout.contains("not running") {
            self.say("it fails without a word");
        }
        match (self.scenario, is_ok) {
            (Scenario::Start | Scenario::Restart | Scenario::Program, true) => {
                match self.daemon() {
                    Some(pid) if Some(pid) == self.before => {
                        self.say("it was not restarted");
                    }
                    Some(_) => {}
                    None if self.was_killed_afterwards() => {}
                    None => self.say("OK, and there is no daemon"),
                }
                self.expect_agreement();
            }
            (Scenario::Start, false) => self.expect_nobody("a start has failed"),
            (Scenario::Restart | Scenario::Program, false) => self.expect_agreement(),
            (Scenario::Stop, true) => self.expect_nobody("a stop has succeeded"),
            (Scenario::Stop, false) => self.expect_agreement(),
            (Scenario::Status, _) => {
                let is_there = self.daemon().is_some();
                if is_ok && !is_there {
                    self.say("running, and there is no daemon");
                }
                if self.stdout.contains("not running") && is_there {
                    self.say("not running, and there is a daemon");
                }
                if !self.is_daemon_hit() && self.daemon() != self.before {
                    self.say("a look has changed something");
                }
            }
            (Scenario::Reload | Scenario::Server, true) => {
                match self.daemon() {
                    Some(pid) if Some(pid) != self.before => {}
                    None if self.was_killed_afterwards() => {}
                    _ => self.say("OK, and there is no new daemon"),
                }
                self.expect_agreement();
            }
            (Scenario::Reload | Scenario::Server, false) => {
                if !self.is_daemon_hit() && self.daemon().is_none() {
                    self.say("a reload has failed, and the daemon is gone");
                }
                self.expect_agreement();
            }
            (
                Scenario::Foreground | Scenario::ForegroundReload | Scenario::ForegroundProgram,
                _,
            ) => self.expect_nobody("the foreground is over"),
            (Scenario::Multi, _) => unreachable!("that is judged in many.rs"),
        }
    }

    /// Whether a daemon was killed when the command had nothing more to say or to hear: what it then told was
    /// true.
    fn was_killed_afterwards(&self) -> bool {
        let Outcome { calls, command, met, .. } = self.outcome;
        let is_last_word = |call: &&Call| {
            call.point.thread == *command
                && [libc::SYS_sendto, libc::SYS_recvfrom].contains(&call.number)
        };
        let last_word = calls.iter().rposition(|call| is_last_word(&call));
        let met = met.and_then(|met| calls.iter().rposition(|call| call.point == met.point));
        self.is_kill && last_word.is_some() && met > last_word
    }

    /// Whether the fault was in another process than the command.
    fn is_daemon_hit(&self) -> bool {
        self.outcome.met.is_some() && !self.outcome.met_command
    }

    fn expect_nobody(&mut self, when: &str) {
        if !patiently(|| self.sandbox.survivors().is_empty()) {
            let survivors = self.sandbox.survivors();
            self.say(&format!("{when}, and there are {survivors:?}"));
        }
        let status = self.fixture.status();
        if status.code() != Some(1) || !status.stdout.contains("not running") {
            self.say(&format!("{when}, and then: {status:?}"));
        }
    }

    /// What is told now is what there is.
    fn expect_agreement(&mut self) {
        // A start whose command was killed is on its way out.
        let mut is_told = false;
        let agrees = patiently(|| {
            let survivors = self.sandbox.survivors();
            is_told = self.fixture.status().code() == Some(0);
            let count = if self.scenario.is_program() { 2 } else { 1 };
            match self.fixture.pid() {
                _ if survivors.is_empty() => !is_told,
                Some(pid) => is_told && survivors.contains(&pid) && survivors.len() == count,
                None => false,
            }
        });
        if !agrees {
            let (survivors, pid) = (self.sandbox.survivors(), self.fixture.pid());
            self.say(&format!("there are {survivors:?}, the file has {pid:?}, status: {is_told}"));
        }
        if self.scenario == Scenario::Server {
            self.expect_service();
        }
    }

    /// Who is the daemon answers at its sockets.
    fn expect_service(&mut self) {
        for name in ["web", "local"] {
            let serves = patiently(|| match self.daemon() {
                Some(pid) => ask(&address(self.sandbox, pid, name)).is_ok_and(|its| its == pid),
                None => true,
            });
            if !serves {
                self.say(&format!("the daemon {:?} does not serve {name}", self.daemon()));
            }
        }
    }

    /// Whatever has happened, plain commands work.
    fn recover(&mut self) {
        let start = self.fixture.start();
        if start.code() != Some(0) {
            self.say(&format!("no start afterwards: {start:?}"));
        }
        if self.daemon().is_none() {
            self.say(&format!("no daemon after a start afterwards: {start:?}"));
        }
        let stop = self.fixture.stop();
        if stop.code() != Some(0) || stop.stdout != "Stopping example ... OK\n" {
            self.say(&format!("no stop afterwards: {stop:?}"));
        }
        if !patiently(|| self.sandbox.survivors().is_empty()) {
            let survivors = self.sandbox.survivors();
            self.say(&format!("a stop afterwards has left {survivors:?}"));
        }
        if self.fixture.pid_file().exists() {
            self.say("a stop afterwards has left the PID file");
        }
    }
}
