//! What can go wrong, and what a caller may want to know of it.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

/// The result of a worker: `Ok(())`, or any error, which becomes the reason of its end.
///
/// Every `?` on a standard error works in it, and so does `Err("some text".into())`. It is shown with
/// all its causes.
///
/// ```
/// fn worker(_: &daemonocle::Context) -> daemonocle::Result {
///     let port: u16 = std::fs::read_to_string("/etc/example.port")?.trim().parse()?;
///     if port < 1024 {
///         return Err(format!("port {port} is reserved").into());
///     }
///     Ok(())
/// }
/// ```
pub type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Why an action failed.
///
/// The message names the thing, the value and the reason, in one line; the predicates and
/// [`exit_code`](Error::exit_code) tell what a program may want to know.
///
/// ```
/// use daemonocle::{Daemon, Stop};
/// let error = Daemon::new("example").stop(&Stop::default()).unwrap_err();
/// assert_eq!(error.to_string(), "example has no PID file, without which it cannot be found");
/// assert_eq!(error.exit_code(), 1);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    exit_code: u8,
    output: Vec<u8>,
    cause: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Definition,
    Start,
    TimedOut,
    Identity,
    System,
    Usage,
    Action,
    /// An exit code alone, by an action of the program's own that has told the rest itself.
    Exit,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            exit_code: 1,
            output: Vec::new(),
            cause: None,
        }))
    }

    /// The definition itself is wrong.
    pub(crate) fn definition(message: impl Into<String>) -> Self {
        Self::new(Kind::Definition, message)
    }

    /// What was asked for does not exist, or cannot be done like this.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message).with_exit_code(2)
    }

    /// A call to the system failed while doing `what`.
    pub(crate) fn system(what: impl fmt::Display, error: io::Error) -> Self {
        let mut new = Self::new(Kind::System, format!("{what}: {}", reason(&error)));
        new.0.cause = Some(error);
        new
    }

    /// Names the one of many that it is about.
    pub(crate) fn about(mut self, name: &str) -> Self {
        self.0.message = format!("{name}: {}", self.0.message);
        self
    }

    pub(crate) fn with_exit_code(mut self, code: u8) -> Self {
        self.0.exit_code = code;
        self
    }

    pub(crate) fn with_output(mut self, output: Vec<u8>) -> Self {
        self.0.output = output;
        self
    }

    /// Whether all has been said.
    #[cfg(feature = "cli")]
    pub(crate) fn is_told(&self) -> bool {
        self.0.kind == Kind::Exit
    }

    /// The exit code for a command that ends with this error: never 0. It is the worker's own
    /// where a worker died while starting (128 + n for signal n), an [`Exit`]'s where an action of the
    /// program's own ended with one, 2 for [`is_usage`](Self::is_usage), and 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code
    }

    /// What the daemon wrote to its standard error before its start failed, as it wrote it: at
    /// most the last 64 KiB, after a line that says so where there was more, and nothing where the
    /// definition names a file for it. Like the worker's own words in the message, it may hold control
    /// characters, which the command line does not show to a terminal as they are.
    #[must_use]
    pub fn worker_output(&self) -> &[u8] {
        &self.0.output
    }

    /// The definition is wrong: a directory that is missing, a user that does not exist, …
    #[must_use]
    pub fn is_definition(&self) -> bool {
        self.0.kind == Kind::Definition
    }

    /// The new daemon died or could not be set up.
    #[must_use]
    pub fn is_start_failure(&self) -> bool {
        self.0.kind == Kind::Start
    }

    /// Something took longer than it was allowed to.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::TimedOut
    }

    /// The PID file cannot be trusted, or whoever holds it cannot be identified: nothing was done.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.0.kind == Kind::Identity
    }

    /// What was asked for does not exist or cannot be had like this: an action, one of the workers of a
    /// [`Multi`](crate::Multi), an action without an option that it needs, several workers in the
    /// foreground. Nothing was done.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.0.kind == Kind::Usage
    }

    /// The system refused for lack of permission (`EPERM`, `EACCES`).
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        let kind = self.0.cause.as_ref().map(io::Error::kind);
        kind == Some(io::ErrorKind::PermissionDenied)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, exit_code, .. } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("message", message)
            .field("exit_code", exit_code)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message already says what the cause says, as it must where only one line is shown.
        None
    }
}

/// The words for an I/O error without the ` (os error 13)` that `std` appends.
pub(crate) fn reason(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(code) = error.raw_os_error()
        && let Some(words) = text.strip_suffix(&format!(" (os error {code})"))
    {
        text.truncate(words.len());
    }
    text
}

/// A text without what a terminal would obey: control characters, those of C1 too, are shown by their
/// numbers, as `\u{1b}`. A worker that has given up its privileges may be anybody's by the time it
/// says something to root.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() && !['\n', '\t'].contains(&c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

/// An error with all its causes, `outer: inner: innermost`; a cause that the text before it
/// already ends with is not said twice.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// An end of the worker's own choosing, returned as its error.
///
/// ```
/// use daemonocle::{Context, Exit};
/// fn worker(_: &Context) -> daemonocle::Result {
///     Err(Exit::with_code(3).into()) // "Exiting with non-zero exit code 3"
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub(crate) code: u8,
    pub(crate) message: Option<String>,
}

impl Exit {
    /// Ends with this exit code; 0 is a normal end.
    #[must_use]
    pub const fn with_code(code: u8) -> Self {
        Self { code, message: None }
    }

    /// Ends with exit code 1 and a message for the shutdown hook and whoever ran `start`.
    #[must_use]
    pub fn with_message(message: impl Into<String>) -> Self {
        Self { code: 1, message: Some(message.into()) }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message),
            None => write!(f, "exit code {}", self.code),
        }
    }
}

impl std::error::Error for Exit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_said_once_and_without_numbers() {
        let error = io::Error::from_raw_os_error(libc::EACCES);
        assert_eq!(reason(&error), "Permission denied");
        assert_eq!(reason(&io::Error::other("x (os error 1)")), "x (os error 1)");
        assert_eq!(
            chain(&Error::system("cannot open \"x\"", error)),
            "cannot open \"x\": Permission denied"
        );
    }
}
