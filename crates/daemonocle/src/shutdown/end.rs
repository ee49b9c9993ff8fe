//! Why a daemon ends, and with what exit code.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::error::{Exit, Result, chain};
use crate::sys::signal::Signal;

/// Why a daemon ends, as its shutdown hook gets it.
///
/// Shown as text it is the sentence for a log: `Shutting down normally`,
/// `Terminated by SIGTERM (15)`, `Exiting with non-zero exit code 3`, `Exiting with message: …`,
/// `Dying due to unhandled panic: …`, `Shutting down for reload`.
///
/// ```
/// use daemonocle::{Daemon, End, Signal};
/// fn hook(end: &End) {
///     if end.signal() != Some(Signal::TERM) && end.exit_code() != 0 {
///         eprintln!("{end} (exit code {})", end.exit_code());
///     }
/// }
/// let daemon = Daemon::new("example").on_shutdown(hook);
/// # daemon.check()?;
/// # Ok::<(), daemonocle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    reason: Reason,
    exit_code: u8,
    /// Ends as this signal would have ended it, instead of with an exit code.
    fatal: Option<Signal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Normal,
    Signal(Signal),
    Code(u8),
    Message(String),
    Panic(String),
    Reload,
}

impl End {
    /// The intended exit code; 128 + n when the daemon is going to end as by signal n.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// The signal that asked for the end, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.reason {
            Reason::Signal(signal) => Some(signal),
            _ => None,
        }
    }

    /// Whether the worker just returned `Ok`, unasked.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        self.reason == Reason::Normal
    }

    /// Whether the daemon lives on in another process, which has taken over.
    #[must_use]
    pub fn is_reload(&self) -> bool {
        self.reason == Reason::Reload
    }

    /// What a worker returned, after it was asked to end by `asked` or by nobody.
    pub(crate) fn of_worker(result: Result, asked: Option<Signal>) -> Self {
        match (result, asked) {
            (Ok(()), None) => Self::with(Reason::Normal, 0),
            (Ok(()), Some(signal)) => Self::with(Reason::Signal(signal), 0),
            (Err(error), _) => match error.downcast_ref::<Exit>() {
                Some(Exit { message: Some(text), code }) => {
                    Self::with(Reason::Message(text.clone()), *code)
                }
                Some(Exit { message: None, code }) => Self::of_code(*code),
                None => Self::with(Reason::Message(chain(error.as_ref())), 1),
            },
        }
    }

    /// A panic that nobody caught.
    pub(crate) fn of_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "(no text)".into());
        Self::with(Reason::Panic(text), 101)
    }

    /// An exit(3) called by any code.
    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            0 => Self::with(Reason::Normal, 0),
            code => Self::with(Reason::Code(code), code),
        }
    }

    /// Ended on the spot by a signal.
    pub(crate) fn of_signal(signal: Signal) -> Self {
        let end = Self::with(Reason::Signal(signal), signal.exit_code());
        Self { fatal: Some(signal), ..end }
    }

    /// The end of a program, after it was asked to end by `asked` or by nobody.
    pub(crate) fn of_status(status: ExitStatus, asked: Option<Signal>) -> Self {
        match (status.signal().and_then(Signal::new), status.code()) {
            (Some(signal), _) => Self::of_signal(signal),
            (None, Some(0)) => Self::of_worker(Ok(()), asked),
            // A wait status of an end has one or the other, and a code of eight bits.
            (None, code) => Self::of_code((code.unwrap_or(1) & 0xff) as u8),
        }
    }

    /// A successor has taken over.
    pub(crate) fn of_reload() -> Self {
        Self::with(Reason::Reload, 0)
    }

    /// For a reason of the library's own.
    pub(crate) fn of_message(text: &str) -> Self {
        Self::with(Reason::Message(text.into()), 1)
    }

    fn with(reason: Reason, exit_code: u8) -> Self {
        Self { reason, exit_code, fatal: None }
    }

    /// The signal to end by, if it is to be one.
    pub(super) fn fatal(&self) -> Option<Signal> {
        self.fatal
    }

    /// The part of the reason that an exit code does not tell: the worker's own words.
    pub(crate) fn words(&self) -> &str {
        match &self.reason {
            Reason::Message(text) | Reason::Panic(text) => text,
            Reason::Normal | Reason::Signal(_) | Reason::Code(_) | Reason::Reload => "",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Normal => f.write_str("Shutting down normally"),
            Reason::Signal(signal) => write!(f, "Terminated by {signal}"),
            Reason::Code(code) => write!(f, "Exiting with non-zero exit code {code}"),
            Reason::Message(text) => write!(f, "Exiting with message: {text}"),
            Reason::Reload => f.write_str("Shutting down for reload"),
            Reason::Panic(text) => write!(f, "Dying due to unhandled panic: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_the_words_of_the_original() {
        let text = |end: End| end.to_string();
        assert_eq!(text(End::of_worker(Ok(()), None)), "Shutting down normally");
        assert_eq!(text(End::of_worker(Ok(()), Some(Signal::INT))), "Terminated by SIGINT (2)");
        assert_eq!(text(End::of_signal(Signal::TERM)), "Terminated by SIGTERM (15)");
        assert_eq!(
            text(End::of_worker(Err(Exit::with_code(3).into()), None)),
            "Exiting with non-zero exit code 3"
        );
        assert_eq!(text(End::of_worker(Err("no".into()), None)), "Exiting with message: no");
        assert_eq!(text(End::of_reload()), "Shutting down for reload");
        assert_eq!(text(End::of_panic(&"oops")), "Dying due to unhandled panic: oops");
    }

    #[test]
    fn exit_codes_follow_the_reason() {
        assert_eq!(End::of_worker(Ok(()), Some(Signal::TERM)).exit_code(), 0);
        assert_eq!(End::of_signal(Signal::TERM).exit_code(), 143);
        assert_eq!(End::of_worker(Err(Exit::with_code(42).into()), None).exit_code(), 42);
        assert_eq!(End::of_panic(&7).exit_code(), 101);
    }
}
