//! What a command has said, and whether its end says the same.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use daemonocle_tests::Pid;

use crate::scenario::Scenario;
use crate::tracer::Outcome;

/// What is told by words and exit code together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// What the command was for is done.
    Success,
    /// It is not, and there is a reason.
    Failure,
    /// There was nobody to do it to.
    Nobody,
}

const STARTED: &str = "Starting example ... OK\n";
const NOT_STARTED: &str = "Starting example ... FAILED\n";
const STOPPED: &str = "Stopping example ... OK\n";
const NOT_STOPPED: &str = "Stopping example ... FAILED\n";
const NOT_RUNNING: &str = "WARNING: example is not running\n";

/// `None`: the one contradicts the other, or it is none of the command's own words.
pub(crate) fn told(scenario: Scenario, code: i32, stdout: &str, stderr: &str) -> Option<Told> {
    if panicked(stderr) {
        return None;
    }
    let is_explained = code != 0 && has_reason(stderr);
    let both = [STOPPED, STARTED].concat();
    match scenario {
        Scenario::Start | Scenario::Furnished => match stdout {
            STARTED if code == 0 && is_quiet(stderr) => Some(Told::Success),
            "" | NOT_STARTED if is_explained => Some(Told::Failure),
            _ => None,
        },
        Scenario::Stop => match stdout {
            STOPPED if code == 0 && is_quiet(stderr) => Some(Told::Success),
            "" if code == 0 && stderr == NOT_RUNNING => Some(Told::Nobody),
            "" | NOT_STOPPED if is_explained => Some(Told::Failure),
            _ => None,
        },
        Scenario::Restart | Scenario::Program => match stdout {
            _ if stdout == both && code == 0 && is_quiet(stderr) => Some(Told::Success),
            // The one that was to be stopped had died.
            STARTED if code == 0 && is_quiet(stderr) => Some(Told::Nobody),
            "" | NOT_STOPPED | STOPPED | NOT_STARTED if is_explained => Some(Told::Failure),
            _ if stdout == [STOPPED, NOT_STARTED].concat() && is_explained => Some(Told::Failure),
            _ => None,
        },
        Scenario::Reload | Scenario::Server => match stdout {
            "Reloading example ... OK\n" if code == 0 && is_quiet(stderr) => Some(Told::Success),
            "" if code == 1 && stderr == NOT_RUNNING => Some(Told::Nobody),
            "" | "Reloading example ... FAILED\n" if is_explained => Some(Told::Failure),
            _ => None,
        },
        Scenario::Status => match stdout {
            "example -- not running\n" if code == 1 && stderr.is_empty() => Some(Told::Nobody),
            "" if is_explained => Some(Told::Failure),
            _ if code == 0 && stderr.is_empty() && pid(stdout).is_some() => Some(Told::Success),
            _ => None,
        },
        // Also one that has ended early has run: as the daemon's own end.
        Scenario::Foreground | Scenario::ForegroundReload | Scenario::ForegroundProgram => {
            let ended = if scenario == Scenario::ForegroundProgram { 143 } else { 0 };
            match stdout.contains(STARTED) {
                true if code == ended => Some(Told::Success),
                _ if is_explained => Some(Told::Failure),
                _ => None,
            }
        }
        Scenario::Multi(_) => unreachable!("that is judged in many.rs"),
    }
}

/// Whether the command has died of what is none of the library's: the dynamic linker before it, or the Rust runtime
/// and allocator without memory.
pub(crate) fn dies_by_itself(outcome: &Outcome, status: ExitStatus, stderr: &str) -> bool {
    let Outcome { calls, command, met, met_command, .. } = outcome;
    // The first thing that the runtime does.
    let is_begun = calls
        .iter()
        .take_while(|call| Some(call.point) != met.map(|met| met.point))
        .any(|call| call.point.thread == *command && call.number == libc::SYS_poll);
    let is_told =
        ["memory allocation of ", "alternative stack"].iter().any(|words| stderr.contains(words));
    let is_death = status.signal().is_some_and(|signal| !is_begun || signal == libc::SIGABRT);
    let is_refusal = status.code() == Some(127) && !is_begun;
    *met_command && is_about_memory(outcome) && ((is_death && (!is_begun || is_told)) || is_refusal)
}

/// Whether it was memory that there was none of.
pub(crate) fn is_about_memory(outcome: &Outcome) -> bool {
    const CALLS: [i64; 4] = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_munmap, libc::SYS_brk];
    outcome.met.is_some_and(|met| CALLS.contains(&met.number))
}

/// The PID that `status` has told.
pub(crate) fn pid(stdout: &str) -> Option<Pid> {
    stdout.strip_prefix("example -- pid: ")?.split_once(", num_threads: ")?.0.parse().ok()
}

/// Whether anything has but the worker's own hook, for want of its log, and the standard library, for want of memory.
pub(crate) fn panicked(stderr: &str) -> bool {
    const OTHERS: [&str; 2] = ["bin/fixture/hooks.rs", "std/src/sys/pal/unix/stack_overflow.rs"];
    let is_others = |line: &str| OTHERS.iter().any(|file| line.contains(file));
    stderr.lines().any(|line| line.contains("panicked at") && !is_others(line))
}

/// A warning is no failure.
fn is_quiet(stderr: &str) -> bool {
    stderr.lines().all(|line| line.starts_with("WARNING: "))
}

/// Ours, or of those who were there before us: the dynamic linker and the allocator.
pub(crate) fn has_reason(stderr: &str) -> bool {
    const SIGNS: [&str; 3] = [
        "ERROR: ",
        "error while loading shared libraries: ",
        "cannot allocate TLS data structures",
    ];
    SIGNS.iter().any(|sign| stderr.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_exit_code_say_the_same() {
        let running = "example -- pid: 7, num_threads: 2\n";
        for (scenario, code, stdout, stderr, expected) in [
            (Scenario::Start, 0, STARTED, "", Some(Told::Success)),
            (Scenario::Start, 1, NOT_STARTED, "ERROR: no\n", Some(Told::Failure)),
            (Scenario::Start, 0, NOT_STARTED, "ERROR: no\n", None),
            (Scenario::Start, 1, STARTED, "ERROR: no\n", None),
            (Scenario::Start, 1, NOT_STARTED, "", None),
            (Scenario::Start, 0, STARTED, "ERROR: no\n", None),
            (Scenario::Stop, 0, STOPPED, "", Some(Told::Success)),
            (Scenario::Stop, 0, "", NOT_RUNNING, Some(Told::Nobody)),
            (Scenario::Stop, 0, "", "", None),
            (Scenario::Status, 0, running, "", Some(Told::Success)),
            (Scenario::Status, 1, "example -- not running\n", "", Some(Told::Nobody)),
            (Scenario::Status, 0, "example -- not running\n", "", None),
            (Scenario::Reload, 1, "", NOT_RUNNING, Some(Told::Nobody)),
            (Scenario::ForegroundProgram, 143, STARTED, "", Some(Told::Success)),
            (Scenario::Foreground, 143, STARTED, "", None),
        ] {
            let told = told(scenario, code, stdout, stderr);
            assert_eq!(told, expected, "{scenario:?}: {code}, {stdout:?}, {stderr:?}");
        }
        assert_eq!(pid(running), Some(7));
        assert_eq!(pid("example -- pid: , num_threads: 2\n"), None);
    }
}
