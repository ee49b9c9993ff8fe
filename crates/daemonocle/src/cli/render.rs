//! Outcomes and events as text.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::action::{Event, Status, Verb};
use crate::error::{Error, reason};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Shows an action to a person, as it goes on. What cannot be written (a full disk, a closed
/// pipe) changes nothing about the action.
pub(super) struct Teller {
    name: String,
    /// `Starting foo ... ` has been written, and not how it went.
    is_open: bool,
}

impl Teller {
    pub(super) fn new(name: &str) -> Self {
        Self { name: one_line(name), is_open: false }
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin(verb) => {
                let verb = match verb {
                    Verb::Start => "Starting",
                    Verb::Stop => "Stopping",
                    Verb::Kill => "Killing",
                };
                let _ = out(&format!("{verb} {} ... ", self.name));
                self.is_open = true;
            }
            Event::Done => self.close("OK", GREEN),
            Event::Failed(error) => self.error(error),
            Event::Warning(text) => err("WARNING", &text, YELLOW),
            Event::LastWords(text) => err("ERROR", text, RED),
            Event::Forwarding(signal) => {
                let _ = out(&format!("Received signal {signal}. Forwarding to child...\n"));
            }
            Event::AllGone => drop(out("All children are gone. Parent is exiting...\n")),
        }
    }

    /// How the action failed.
    pub(super) fn error(&mut self, error: &Error) {
        self.close("FAILED", RED);
        let output = error.worker_output();
        if !output.is_empty() {
            let mut stderr = std::io::stderr().lock();
            let _ = stderr.write_all(output);
            if output.last() != Some(&b'\n') {
                let _ = stderr.write_all(b"\n");
            }
        }
        err("ERROR", &error.to_string(), RED);
    }

    fn close(&mut self, word: &str, style: Style) {
        if std::mem::take(&mut self.is_open) {
            let _ = out(&format!("{style}{word}{style:#}\n"));
        }
    }
}

/// A name that has not been checked yet, without what could move a terminal's cursor.
fn one_line(name: &str) -> String {
    let show = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    name.chars().map(show).collect()
}

/// Writes to standard output. What tells of an action goes on without; what is the whole answer
/// (a status) does not.
pub(super) fn out(text: &str) -> std::io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// That the answer could not be written.
pub(super) fn unwritten(error: &std::io::Error) {
    err("ERROR", &format!("cannot write to standard output: {}", reason(error)), RED);
}

fn err(label: &str, text: &str, style: Style) {
    let mut stderr = anstream::stderr().lock();
    let _ = stderr.write_all(format!("{style}{label}: {text}{style:#}\n").as_bytes());
}

/// The status as a line to read.
pub(super) fn text(name: &str, status: Option<&Status>) -> String {
    match status {
        None => format!("{name} -- not running\n"),
        Some(Status { pid, state, uptime, cpu_percent, memory_percent, .. }) => format!(
            "{name} -- pid: {pid}, status: {state}, uptime: {}, \
             %cpu: {cpu_percent:.1}, %mem: {memory_percent:.1}\n",
            elapsed(*uptime),
        ),
    }
}

/// The status as a line of JSON: the keys sorted, a space after every `:` and `,`.
pub(super) fn json(name: &str, status: Option<&Status>) -> String {
    let name = quoted(name);
    match status {
        None => format!("{{\"name\": {name}, \"status\": \"dead\"}}\n"),
        Some(Status { pid, state, uptime, cpu_percent, memory_percent, .. }) => {
            let number = |value: f64| format!("{:?}", (value * 1000.0).round() / 1000.0);
            format!(
                "{{\"cpu_percent\": {}, \"memory_percent\": {}, \"name\": {name}, \"pid\": {pid}, \
                 \"status\": \"{state}\", \"uptime\": {}}}\n",
                number(*cpu_percent),
                number(*memory_percent),
                number(uptime.as_secs_f64()),
            )
        }
    }
}

/// A JSON string, RFC 8259; in ASCII, as the original writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut units = [0; 2];
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(character),
            _ => {
                for unit in character.encode_utf16(&mut units) {
                    // Writing to a string cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

/// A time in days, hours and minutes, rounded: `11d 13h 47m`, `13h 0m`, `0m`.
fn elapsed(time: Duration) -> String {
    let minutes = (time.as_secs() + 30) / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let (days, hours) = (hours / 24, hours % 24);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_the_original_tells_them() {
        let told = |seconds| elapsed(Duration::from_secs(seconds));
        assert_eq!(told(0), "0m");
        assert_eq!(told(30), "1m");
        assert_eq!(told(3600), "1h 0m");
        assert_eq!(told(86400), "1d 0h 0m");
        assert_eq!(told(999_999), "11d 13h 47m");
    }

    #[test]
    fn names_are_quoted_as_json() {
        assert_eq!(quoted("a\"b\\c\u{e9}\u{1f600}"), r#""a\"b\\c\u00e9\ud83d\ude00""#);
    }
}
