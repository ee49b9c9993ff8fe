//! Why a start has failed, in words.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::sys::signal::Signal;

use super::Watch;

/// Why a start has failed.
pub(in crate::action) enum Failure {
    /// A step of the set-up did, with this error.
    SetUp(u8, String),
    /// The daemon has died.
    Death,
    /// It lives, and no longer has its PID file.
    Lost,
    /// It was not ready in time.
    TimedOut(Duration),
    /// Not even its set-up was over in time.
    NotSetUp(Duration),
    /// Something is wrong on our side.
    System(&'static str, io::Error),
}

impl Watch {
    /// The error to tell.
    pub(in crate::action) fn explain(
        &mut self,
        failure: Failure,
        died: Option<ExitStatus>,
    ) -> Error {
        let error = match failure {
            Failure::SetUp(code, why) => Error::new(Kind::Start, why).with_exit_code(code.max(1)),
            Failure::Death => self.death(died.or(self.died)),
            Failure::Lost => Error::new(
                Kind::Start,
                "the worker does not have its PID file any more: it has replaced itself by another \
                 program (exec), or closed descriptors that are not its own",
            ),
            // It had ended by itself before, and only its hook took too long.
            Failure::TimedOut(_) if self.last_words().is_some() => self.death(died.or(self.died)),
            Failure::TimedOut(limit) => Error::new(
                Kind::TimedOut,
                format!("Timed out: the daemon was not ready within {}", in_words(limit)),
            ),
            Failure::NotSetUp(limit) => Error::new(
                Kind::TimedOut,
                format!(
                    "Timed out: the start hook and what comes before it took longer than {} \
                     (the definition's start_timeout)",
                    in_words(limit)
                ),
            ),
            Failure::System(what, error) => Error::system(format!("cannot {what}"), error),
        };
        error.with_output(self.take_output())
    }

    fn take_output(&mut self) -> Vec<u8> {
        const MARK: &[u8] = b"[earlier output is left out]\n";
        let output = std::mem::take(&mut self.output);
        if !self.is_cut {
            return output;
        }
        // From the first whole line on, where there is one.
        let start = output.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        [MARK, &output[start..]].concat()
    }

    /// A death while starting, as an error.
    fn death(&self, status: Option<ExitStatus>) -> Error {
        let (intended, words) = match &self.ending {
            Some((code, words)) => (Some(*code), words.as_str()),
            None => (None, ""),
        };
        let signal = status.and_then(|status| status.signal()).and_then(Signal::new);
        let (mut message, code) = match (signal, status.and_then(|status| status.code()), intended)
        {
            // Its own intention counts for more than that it had to be helped.
            (Some(Signal::KILL | Signal::TERM), _, Some(code))
                if self.is_killed || !words.is_empty() =>
            {
                (format!("Child exited immediately with exit code {code}"), code)
            }
            (Some(signal), ..) => {
                let code = signal.exit_code();
                (format!("Child exited immediately with exit code {code}: {signal}"), code)
            }
            (None, Some(code), _) => {
                (format!("Child exited immediately with exit code {code}"), (code & 0xff) as u8)
            }
            (None, None, Some(code)) => {
                (format!("Child exited immediately with exit code {code}"), code)
            }
            (None, None, None) => ("Child died immediately, and nobody saw how".to_owned(), 1),
        };
        if !words.is_empty() {
            let _ = write!(message, ": {words}");
        }
        // A daemon that is gone has not been started, whatever its exit code says.
        Error::new(Kind::Start, message).with_exit_code(code.max(1))
    }
}

/// As in `30s` or `1500ms`.
fn in_words(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}
