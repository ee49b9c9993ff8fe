//! Watching a new daemon come up, until the outcome is certain.

#![forbid(unsafe_code)]

mod failure;
mod put_down;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::config::{Config, Startup};
use crate::startup::{Report, Starter};
use crate::sys::fd::{deadline_in, has_passed, read_available, wait_readable};
use crate::sys::process::{Pid, PidFd};

pub(super) use failure::Failure;

/// Watches a new daemon come up.
pub(super) struct Watch {
    is_set_up: bool,
    is_ready: bool,
    pub(super) starter: Starter,
    startup: Startup,
    start_timeout: Duration,
    /// How long a daemon that was told to end may take.
    patience: Duration,
    errors: Option<OwnedFd>,
    /// Whether nothing comes from there any more.
    is_silent: bool,
    /// What the daemon has written to standard error: the last 64 KiB.
    output: Vec<u8>,
    /// Whether it had written more before that.
    is_cut: bool,
    /// Our own child: the guardian of a daemon, or in the foreground the daemon.
    child: Option<PidFd>,
    daemon: Option<Pid>,
    /// The program that the daemon keeps, and that is the daemon to everybody else.
    program: Option<Pid>,
    deadline: Option<Instant>,
    /// Whether the channel may still bring something.
    listening: bool,
    /// What the daemon said when it began to end: the intended exit code, and the worker's words.
    ending: Option<(u8, String)>,
    /// Whether it was killed because it did not end.
    is_killed: bool,
    died: Option<ExitStatus>,
    is_taken: bool,
    /// The process that the daemon has handed over to.
    pub(super) successor: Option<Pid>,
}

/// What [`Watch::step`] has seen.
pub(super) enum Step {
    SetUp,
    Ready,
    Failed(Failure),
    Nothing,
}

impl Watch {
    pub(super) fn new(
        config: &Config,
        starter: Starter,
        errors: Option<OwnedFd>,
        child: Pid,
    ) -> Self {
        // Our own child, not yet waited for: the number is his. Where there are no pidfds, the end of
        // the channel tells of a death.
        Self { child: PidFd::open(child).ok(), ..Self::among_others(config, starter, errors) }
    }

    /// Watches one of many that have the same guardian, whose death somebody else watches for.
    pub(super) fn among_others(config: &Config, starter: Starter, errors: Option<OwnedFd>) -> Self {
        let settings = config.settings();
        let deadline = match settings.startup {
            Startup::Ready(limit) => deadline_in(limit),
            // The second begins with the worker; a set-up that hangs must have an end too.
            Startup::Alive(_) => deadline_in(settings.start_timeout),
        };
        Self {
            is_set_up: false,
            is_ready: false,
            starter,
            startup: settings.startup,
            start_timeout: settings.start_timeout,
            patience: settings.stop_timeout,
            errors,
            is_silent: false,
            output: Vec::new(),
            is_cut: false,
            child: None,
            daemon: None,
            program: None,
            deadline,
            listening: true,
            ending: None,
            is_killed: false,
            died: None,
            is_taken: false,
            successor: None,
        }
    }

    /// The daemon is our own child: nobody has to name it.
    pub(super) fn is_named(&mut self, daemon: Pid) {
        self.daemon = Some(daemon);
    }

    /// Waits until a successor has taken the PID file.
    pub(super) fn until_taken(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        self.deadline = deadline;
        while !self.is_taken {
            match self.step()? {
                Step::Failed(failure) => return Err(failure),
                Step::SetUp | Step::Ready | Step::Nothing => {}
            }
            if !self.is_taken && self.is_late() {
                return Err(Failure::Lost);
            }
        }
        Ok(())
    }

    /// Waits until the daemon has started, or certainly will not.
    pub(super) fn until_certain(&mut self) -> Result<Pid, Failure> {
        loop {
            let step = self.step()?;
            if let Some(pid) = self.judge(step)? {
                return Ok(pid);
            }
        }
    }

    /// What a step means: that the daemon has started, when it is certain.
    pub(super) fn judge(&mut self, step: Step) -> Result<Option<Pid>, Failure> {
        match step {
            Step::Ready if self.is_ready => {
                let error = io::ErrorKind::TimedOut.into();
                return Err(Failure::System("learn who the daemon is", error));
            }
            Step::Ready => {
                self.is_ready = true;
                self.deadline = deadline_in(self.start_timeout);
            }
            Step::SetUp if self.is_set_up => {}
            Step::SetUp => self.worker_runs(),
            // What began to end after it was ready had started.
            Step::Failed(Failure::Death) if self.is_ready && !self.is_over() => {}
            Step::Failed(failure) => return Err(failure),
            Step::Nothing => {}
        }
        // The guardian names it, and may be slower than the daemon itself.
        Ok(self.daemon.filter(|_| self.is_ready))
    }

    /// The daemon as everybody is to know it, of which the process `daemon` has told.
    pub(super) fn public_pid(&self, daemon: Pid) -> Pid {
        self.program.unwrap_or(daemon)
    }

    /// From now on the rule of one second counts, where there is no other.
    pub(super) fn worker_runs(&mut self) {
        self.is_set_up = true;
        if let Startup::Alive(limit) = self.startup {
            self.deadline = deadline_in(limit);
        }
    }

    /// Waits for the next thing to happen.
    fn step(&mut self) -> Result<Step, Failure> {
        let child = self.child.as_ref().map(AsFd::as_fd);
        let ready = wait_readable([self.talk(), self.errors(), child], self.deadline)
            .map_err(|error| Failure::System("wait for the daemon", error))?;
        if ready == [false; 3] {
            return Ok(self.on_deadline());
        }
        let [talk, errors, child] = ready;
        match self.take(talk, errors)? {
            Step::Nothing if child && !talk => {
                self.child = None;
                self.on_guardians_death()
            }
            Step::Nothing if self.is_late() => self.hear_out(),
            step => Ok(step),
        }
    }

    /// Takes what has been told until the deadline. This process may have been stopped, and hear of it only now.
    pub(super) fn hear_out(&mut self) -> Result<Step, Failure> {
        /// More than there are to be told; whoever talks without end must not hold the clock up.
        const MOST: usize = 16;
        for _ in 0..MOST {
            let is_talking = wait_readable([self.talk()], deadline_in(Duration::ZERO));
            if !matches!(is_talking, Ok([true])) {
                break;
            }
            match self.hear()? {
                Step::Nothing => {}
                step => return Ok(step),
            }
        }
        Ok(self.on_deadline())
    }

    /// What it means that our own child is dead: a daemon that it has not named will not be named.
    pub(super) fn on_guardians_death(&self) -> Result<Step, Failure> {
        match self.daemon {
            Some(_) => Ok(Step::Failed(Failure::Death)),
            None => Err(Failure::Death),
        }
    }

    /// Takes what there is on the channel, and on standard error.
    pub(super) fn take(&mut self, talk: bool, errors: bool) -> Result<Step, Failure> {
        if errors {
            self.read_errors();
        }
        if talk { self.hear() } else { Ok(Step::Nothing) }
    }

    /// Whether what is waited for has not come in time.
    pub(super) fn is_late(&self) -> bool {
        has_passed(self.deadline)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether only `ready()` makes this start a success.
    pub(super) fn awaits_ready(&self) -> bool {
        matches!(self.startup, Startup::Ready(_))
    }

    /// What the channel is to be waited for on; `None` when it is at its end.
    pub(super) fn talk(&self) -> Option<BorrowedFd<'_>> {
        self.listening.then(|| self.starter.as_fd())
    }

    /// The channel, and what standard error is read from, whether anything may come of them or not.
    pub(super) fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.starter.as_fd()), self.errors.as_ref().map(AsFd::as_fd)]
    }

    /// What standard error is to be read from; `None` when nothing comes from there.
    pub(super) fn errors(&self) -> Option<BorrowedFd<'_>> {
        self.errors.as_ref().filter(|_| !self.is_silent).map(AsFd::as_fd)
    }

    /// What the worker said when it ended, if it had anything to say.
    pub(super) fn last_words(&self) -> Option<&str> {
        self.ending.as_ref().map(|(_, words)| words.as_str()).filter(|words| !words.is_empty())
    }

    pub(super) fn on_deadline(&self) -> Step {
        match self.startup {
            Startup::Alive(_) if self.is_set_up => Step::Ready,
            Startup::Alive(_) => Step::Failed(Failure::NotSetUp(self.start_timeout)),
            Startup::Ready(limit) => Step::Failed(Failure::TimedOut(limit)),
        }
    }

    /// Takes the next report.
    pub(super) fn hear(&mut self) -> Result<Step, Failure> {
        let report = self.starter.receive();
        Ok(match report.map_err(|error| Failure::System("hear the daemon", error))? {
            Some(Report::Born(pid)) => {
                self.daemon = Some(pid);
                Step::Nothing
            }
            Some(Report::Program(pid)) => {
                self.program = Some(pid);
                Step::Nothing
            }
            Some(Report::Taken) => {
                self.is_taken = true;
                Step::Nothing
            }
            Some(Report::Successor(pid)) => {
                self.successor = Some(pid);
                Step::Nothing
            }
            Some(Report::SetUp) => Step::SetUp,
            Some(Report::Ready) => Step::Ready,
            Some(Report::Failed(code, why)) => Step::Failed(Failure::SetUp(code, why)),
            Some(Report::Ending(code, words)) => {
                self.ending = Some((code, words));
                Step::Failed(Failure::Death)
            }
            Some(Report::Died(status)) => {
                self.died = Some(status);
                Step::Failed(Failure::Death)
            }
            None => {
                self.listening = false;
                // Nobody is left who could say anything.
                if self.child.is_none() { Step::Failed(Failure::Death) } else { Step::Nothing }
            }
        })
    }

    /// Takes what has been written to standard error; whether there was anything.
    fn read_errors(&mut self) -> bool {
        const MOST: usize = 64 * 1024;
        let mut buffer = [0; 4096];
        let Some(errors) = self.errors() else {
            return false;
        };
        let count = match read_available(errors, &mut buffer) {
            Ok(Some(count)) => count,
            Ok(None) | Err(_) => {
                self.is_silent = true;
                return false;
            }
        };
        self.output.extend_from_slice(&buffer[..count]);
        if self.output.len() > MOST {
            self.output.drain(..self.output.len() - MOST);
            self.is_cut = true;
        }
        count > 0
    }

    /// Takes what it wrote last, which may still be in the pipe; a stray process may write for ever.
    pub(super) fn drain(&mut self) {
        const ROUNDS: usize = 1024;
        for _ in 0..ROUNDS {
            if !self.read_errors() {
                break;
            }
        }
    }

    /// Whether nobody has told how the daemon has ended.
    pub(super) fn knows_nothing(&self) -> bool {
        self.died.is_none() && self.ending.is_none()
    }

    /// Whether its guardian has told of the daemon's death, or both are dead.
    pub(super) fn is_over(&self) -> bool {
        self.died.is_some() || !self.listening
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::config::Settings;
    use crate::startup::channel;

    #[test]
    fn a_daemon_that_is_ready_and_that_nobody_names_any_more_has_not_started()
    -> Result<(), Box<dyn std::error::Error>> {
        let mut settings = Settings::new("example".into());
        settings.startup = Startup::Ready(Duration::from_secs(600));
        settings.start_timeout = Duration::from_secs(600);
        let mut guardian = Command::new("true").spawn()?;
        let (starter, newborn) = channel()?;
        newborn.report(&Report::Ready)?;
        let pid = Pid::new(guardian.id().try_into()?).ok_or("no PID")?;
        let mut watch = Watch::new(&settings.validate()?, starter, None, pid);
        assert!(matches!(watch.until_certain(), Err(Failure::Death)));
        drop(newborn);
        guardian.wait()?;
        Ok(())
    }
}
