//! What must be true after a run.

use std::os::unix::process::ExitStatusExt;

use daemonocle_tests::{Fixture, Pid, Sandbox, address, ask, is_alive};

use crate::scenario::Scenario;
use crate::sweep::patiently;
use crate::tracer::{Call, Fault, Outcome};
use crate::words::{self, Told, dies_by_itself, is_about_memory};

/// How a run has ended, and what is there then.
pub(crate) struct End<'a> {
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
    pub(crate) fn of(
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

    /// The promises that were broken.
    pub(crate) fn broken(mut self) -> Vec<String> {
        match self.outcome.status {
            // In the foreground it waits for whom it cannot end, and says so; or the keeper of a program does.
            None if self.stderr.contains(": cannot send SIGTERM (15) to process") => {
                // It was killed for that, and the daemon goes with it.
                self.expect_nobody("the foreground was killed");
            }
            None => self.say("it hangs"),
            Some(_) if self.is_killed => self.expect_agreement(),
            Some(status) if dies_by_itself(self.outcome, status, &self.stderr) => {
                self.expect_agreement();
            }
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => self.judge(code),
                // As a shell tells it.
                (None, Some(libc::SIGTERM)) if self.scenario == Scenario::ForegroundProgram => {
                    self.judge(128 + libc::SIGTERM);
                }
                // As the worker has.
                (None, Some(signal)) if self.is_workers_death(signal) => {
                    self.expect_nobody("the foreground has died");
                }
                _ => {
                    self.say("it has died");
                    self.expect_agreement();
                }
            },
        }
        self.recover();
        self.broken
    }

    /// Whether the foreground ends like this because the daemon has: it was killed, or it got no memory for the
    /// thread of its hook, of which the standard library makes an end, or as a program none at all, of which the
    /// dynamic linker does.
    fn is_workers_death(&self, signal: i32) -> bool {
        let is_program = self.scenario == Scenario::ForegroundProgram && self.is_daemon_hit();
        let is_out_of_memory = self.is_daemon_hit() && self.stderr.contains("alternative stack");
        !self.scenario.signals().is_empty()
            && ((signal == libc::SIGKILL && self.is_kill)
                || (signal == libc::SIGABRT && is_out_of_memory)
                || (signal == libc::SIGSEGV && is_program && is_about_memory(self.outcome)))
    }

    /// The process that is the daemon by its PID file, if it is alive.
    fn daemon(&self) -> Option<Pid> {
        self.fixture.pid().filter(|pid| is_alive(*pid))
    }

    fn judge(&mut self, code: i32) {
        let told = match words::told(self.scenario, code, &self.stdout, &self.stderr) {
            // What cannot be written has not been told.
            _ if self.is_mute() => None,
            None => {
                self.say("its words and its exit code do not agree");
                None
            }
            told => told,
        };
        if told == Some(Told::Nobody) && !(self.is_kill && self.is_daemon_hit()) {
            self.say("nobody was running, and there was a daemon");
        }
        let is_ok = code == 0;
        match self.scenario {
            Scenario::Start | Scenario::Furnished if !is_ok => {
                self.expect_nobody("a start has failed");
            }
            Scenario::Start | Scenario::Furnished | Scenario::Restart | Scenario::Program => {
                if is_ok {
                    match self.daemon() {
                        Some(pid) if Some(pid) == self.before => self.say("it was not restarted"),
                        Some(_) => {}
                        None if self.was_killed_afterwards() => {}
                        None => self.say("OK, and there is no daemon"),
                    }
                }
                self.expect_agreement();
            }
            Scenario::Stop if is_ok => self.expect_nobody("a stop has succeeded"),
            Scenario::Stop => self.expect_agreement(),
            Scenario::Status => self.judge_status(told),
            Scenario::Reload | Scenario::Server => {
                let daemon = self.daemon();
                match told {
                    Some(Told::Success) if daemon.is_some() && daemon != self.before => {}
                    Some(Told::Success) if daemon.is_none() && self.was_killed_afterwards() => {}
                    Some(Told::Success) => self.say("OK, and there is no new daemon"),
                    Some(Told::Failure) if daemon.is_none() && !self.is_daemon_hit() => {
                        self.say("a reload has failed, and the daemon is gone");
                    }
                    _ => {}
                }
                self.expect_agreement();
            }
            Scenario::Foreground | Scenario::ForegroundReload | Scenario::ForegroundProgram => {
                self.expect_nobody("the foreground is over");
            }
            Scenario::Multi(_) => unreachable!("that is judged in many.rs"),
        }
    }

    fn judge_status(&mut self, told: Option<Told>) {
        let daemon = self.daemon();
        if told == Some(Told::Success) && words::pid(&self.stdout) != self.before {
            self.say(&format!("running, and it is {:?}", self.before));
        }
        if told == Some(Told::Nobody) && daemon.is_some() {
            self.say("not running, and there is a daemon");
        }
        if !self.is_daemon_hit() && daemon != self.before {
            self.say("a look has changed something");
        }
    }

    /// Whether the command could not write.
    fn is_mute(&self) -> bool {
        self.outcome.met_command
            && self.outcome.met.is_some_and(|met| met.number == libc::SYS_write)
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
