//! What an answer says, in terms that can be true or not.

use daemonocle_tests::{Output, Pid};

/// What a command has said, or its part that is about one of many workers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Answer {
    /// `None`: a signal has ended it.
    pub(crate) fn of(output: &Output) -> Option<Self> {
        let (stdout, stderr) = (output.stdout.clone(), output.stderr.clone());
        Some(Self { code: output.code()?, stdout, stderr })
    }

    #[cfg(test)]
    pub(crate) fn new(code: i32, stdout: &str, stderr: &str) -> Self {
        Self { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.code == 0
    }

    /// What it says of the worker of this name, in the words for a daemon by itself.
    pub(crate) fn about(&self, name: &str, is_alone: bool) -> Self {
        let is_about = |line: &&str| line.split([' ', ':', '/', '.']).any(|word| word == name);
        let stdout: String = self.stdout.split_inclusive('\n').filter(is_about).collect();
        let stderr = self.stderr.split_inclusive('\n');
        let stderr: String = stderr.filter(|line| is_alone || is_about(line)).collect();
        let stdout = stdout.replace(name, "example");
        let stderr =
            stderr.replace(&format!("ERROR: {name}: "), "ERROR: ").replace(name, "example");
        let is_done = stdout.ends_with("... OK\n") || stdout.contains(" -- pid: ");
        let is_error = stderr.contains("ERROR: ");
        let told = stderr
            .rsplit_once(" exit code ")
            .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        let code = match told.and_then(|digits| digits.parse().ok()) {
            _ if is_done => 0,
            // Nothing was to be done.
            _ if stdout.is_empty() && !is_error => i32::from(self.code != 0 && is_alone),
            Some(code) => code,
            None => 1,
        };
        Self { code, stdout, stderr }
    }
}

/// Something that an answer claims of the time between the question and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A daemon was started, by this very command.
    Started,
    /// A daemon was replaced by a successor.
    Reloaded,
    /// This one was running.
    Running(Pid),
    /// Nobody was running.
    Nobody,
    /// Somebody who was running, or coming up, is dead.
    Ended,
    /// Nothing that could be checked: one that was coming up was ended, say.
    Nothing,
}

/// What it claims; `None`: nobody ever gives such an answer.
pub(crate) fn claims(words: &[&str], answer: &Answer) -> Option<Vec<Claim>> {
    let Answer { code, stdout, stderr } = answer;
    match (words[0], *code) {
        ("start", code) => started(code, stdout, stderr).map(|claim| vec![claim]),
        ("stop", code) => stopped(code, stdout, stderr).map(|claim| vec![claim]),
        ("restart", code) => {
            // A stop and a start, one after the other.
            let begin = stdout.find("Starting").unwrap_or(stdout.len());
            let (stop, start) = stdout.split_at(begin);
            let (warnings, errors) = split(stderr);
            let is_over = start.is_empty() && !warnings.contains("already running");
            if is_over && code != 0 {
                return stopped(code, stop, stderr).map(|claim| vec![claim]);
            }
            let (stop_says, start_says) = split_warnings(&warnings);
            let first = stopped(0, stop, &stop_says)?;
            let second = started(code, start, &format!("{start_says}{errors}"))?;
            Some(vec![first, second])
        }
        ("status", 0) => {
            let pid = stdout.strip_prefix("example -- pid: ")?.split(',').next()?.parse().ok()?;
            Some(vec![Claim::Running(pid)])
        }
        ("status", 1) if stdout == "example -- not running\n" => Some(vec![Claim::Nobody]),
        ("reload", code) => reloaded(code, stdout, stderr).map(|claim| vec![claim]),
        _ => None,
    }
}

fn started(code: i32, stdout: &str, stderr: &str) -> Option<Claim> {
    const OK: &str = "Starting example ... OK\n";
    const FAILED: &str = "Starting example ... FAILED\n";
    match (code, stdout) {
        (0, OK) if stderr.is_empty() => Some(Claim::Started),
        (0, "") => {
            let pid = stderr.strip_prefix("WARNING: example already running with PID ")?;
            Some(Claim::Running(pid.strip_suffix('\n')?.parse().ok()?))
        }
        // It was ended while it came up, by a stop or by a kill.
        (137 | 143, FAILED) => {
            let words = format!("ERROR: Child exited immediately with exit code {code}");
            stderr.starts_with(&words).then_some(Claim::Nothing)
        }
        (1, FAILED) if stderr.ends_with("was deleted or moved during the start\n") => {
            Some(Claim::Nothing)
        }
        (1, FAILED) => {
            let pid = stderr.strip_prefix("ERROR: already running with PID ")?;
            let (pid, rest) = pid.split_once(',')?;
            let is_so = rest.starts_with(" but somebody has deleted or moved its PID file ");
            is_so.then_some(Claim::Running(pid.parse().ok()?))
        }
        _ => None,
    }
}

fn stopped(code: i32, stdout: &str, stderr: &str) -> Option<Claim> {
    const OK: &str = "Stopping example ... OK\n";
    const FAILED: &str = "Stopping example ... FAILED\n";
    const STARTING: &str = "ERROR: timed out while waiting for example to finish starting\n";
    let too_slow = || {
        let text = "ERROR: Timed out while waiting for process (PID ";
        stderr.strip_prefix(text)?.strip_suffix(") to terminate\n")?.parse().ok()
    };
    match (code, stdout) {
        (0, OK) if stderr.is_empty() => Some(Claim::Ended),
        // Once for each, if it had reloaded just before it was asked to end.
        (0, _) if is_killed(stdout) => Some(Claim::Ended),
        (0, "") if stderr == "WARNING: example is not running\n" => Some(Claim::Nobody),
        (1, FAILED) => too_slow().map(Claim::Running),
        (1, "") if stderr == STARTING => Some(Claim::Nothing),
        _ => None,
    }
}

/// Whether some did not end in time, and were killed for it.
fn is_killed(stdout: &str) -> bool {
    let words = stdout.strip_prefix("Stopping example ... FAILED\n");
    let words = words.and_then(|words| words.strip_suffix("Killing example ... OK\n"));
    words.is_some_and(|words| words.lines().all(|line| line == "Killing example ... FAILED"))
}

fn reloaded(code: i32, stdout: &str, stderr: &str) -> Option<Claim> {
    const OK: &str = "Reloading example ... OK\n";
    const FAILED: &str = "Reloading example ... FAILED\n";
    let has_ended = ["has ended instead of reloading\n", "has taken over, and ended since\n"];
    match (code, stdout) {
        (0, OK) if stderr.is_empty() => Some(Claim::Reloaded),
        (0 | 1, "") if stderr == "WARNING: example is not running\n" => Some(Claim::Nobody),
        (1, FAILED) if has_ended.iter().any(|end| stderr.ends_with(end)) => Some(Claim::Nothing),
        (1, FAILED)
            if stderr
                .starts_with("ERROR: cannot reload: somebody has deleted or moved PID file ") =>
        {
            Some(Claim::Nothing)
        }
        // Of one whose start was killed, for one.
        (1, _)
            if stderr.contains(" cannot reload, since somebody has deleted or moved ")
                || stderr.ends_with(", or is about to end\n") =>
        {
            let pid = stderr.strip_prefix("ERROR: process ")?.split(' ').next()?;
            Some(Claim::Running(pid.parse().ok()?))
        }
        (137 | 143, FAILED) => {
            let words = format!("ERROR: Child exited immediately with exit code {code}");
            stderr.starts_with(&words).then_some(Claim::Nothing)
        }
        _ => None,
    }
}

/// The warnings, and the rest.
fn split(stderr: &str) -> (String, String) {
    stderr.split_inclusive('\n').partition(|line| line.starts_with("WARNING: "))
}

/// Those of the stop, and those of the start.
fn split_warnings(warnings: &str) -> (String, String) {
    warnings.split_inclusive('\n').partition(|line| line.contains("is not running"))
}
