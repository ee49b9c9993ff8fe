//! Outcomes and events as text.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::action::{Details, Event, Field, Status, Value, Verb};
use crate::error::{Error, harmless, reason};

use super::json;

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Shows an action to a person, as it goes on. What cannot be written (a full disk, a closed
/// pipe) changes nothing about the action.
pub(super) struct Teller {
    name: String,
    /// Whether errors have to say whose they are.
    is_of_many: bool,
    /// `Starting` of a line `Starting foo ...` that does not say yet how it went.
    begun: Option<&'static str>,
    /// Whether that line had to be ended, for somebody else's output.
    is_interrupted: bool,
}

impl Teller {
    pub(super) fn new(name: &str) -> Self {
        Self { name: one_line(name), is_of_many: false, begun: None, is_interrupted: false }
    }

    /// For one of many, of whom others have something to say, too.
    pub(super) fn of_many(name: &str) -> Self {
        Self { is_of_many: true, ..Self::new(name) }
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin(verb) => {
                let verb = match verb {
                    Verb::Start => "Starting",
                    Verb::Stop => "Stopping",
                    Verb::Kill => "Killing",
                    Verb::Reload => "Reloading",
                };
                self.begun = Some(verb);
                let _ = out(&self.beginning(verb));
            }
            Event::WorkerRuns => {
                self.is_interrupted = true;
                let _ = out("\n");
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

    fn beginning(&self, verb: &str) -> String {
        format!("{verb} {} ...", self.name)
    }

    /// How the action failed.
    pub(super) fn error(&mut self, error: &Error) {
        self.close("FAILED", RED);
        repeat(error.worker_output());
        match self.is_of_many {
            true => err("ERROR", &format!("{}: {error}", self.name), RED),
            false => err("ERROR", &error.to_string(), RED),
        }
    }

    fn close(&mut self, word: &str, style: Style) {
        if let Some(verb) = self.begun.take() {
            let again = match std::mem::take(&mut self.is_interrupted) {
                true => self.beginning(verb),
                false => String::new(),
            };
            let word = paint(&std::io::stdout(), word, style);
            let _ = out(&format!("{again} {word}\n"));
        }
    }
}

/// Passes on what the worker has written to standard error: byte for byte, but to a terminal as
/// [`harmless`] text.
fn repeat(output: &[u8]) {
    let mut output = output.to_vec();
    if std::io::stderr().is_terminal() {
        output = harmless(&String::from_utf8_lossy(&output)).into_bytes();
    }
    if !output.is_empty() && output.last() != Some(&b'\n') {
        output.push(b'\n');
    }
    let _ = std::io::stderr().lock().write_all(&output);
}

/// A name that has not been checked yet, without what could move a terminal's cursor.
fn one_line(name: &str) -> String {
    let show = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    name.chars().map(show).collect()
}

/// A text in colour, where the stream is one to show it.
fn paint(stream: &impl RawStream, text: &str, style: Style) -> String {
    match AutoStream::choice(stream) {
        ColorChoice::Never => text.to_owned(),
        _ => format!("{style}{text}{style:#}"),
    }
}

/// Writes to standard output. What tells of an action goes on without; what is the whole answer
/// (a status) does not.
pub(super) fn out(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// That the answer could not be written.
pub(super) fn unwritten(error: &std::io::Error) {
    err("ERROR", &format!("cannot write to standard output: {}", reason(error)), RED);
}

fn err(label: &str, text: &str, style: Style) {
    let stderr = std::io::stderr();
    let message = paint(&stderr, &format!("{label}: {}", harmless(text)), style);
    // In one piece: others may be writing to the same place.
    let _ = stderr.lock().write_all(format!("{message}\n").as_bytes());
}

/// That there is no status, as a line to read.
pub(super) fn not_running(name: &str) -> String {
    format!("{name} -- not running\n")
}

/// That it could not be told, as a line to read.
pub(super) fn unknown(name: &str) -> String {
    format!("{name} -- unknown\n")
}

/// The status as a line to read.
pub(super) fn status(name: &str, status: &Status) -> String {
    let Status { pid, state, uptime, cpu_percent, memory_percent, .. } = status;
    format!(
        "{name} -- pid: {pid}, status: {state}, uptime: {}, \
         %cpu: {cpu_percent:.1}, %mem: {memory_percent:.1}\n",
        elapsed(*uptime),
    )
}

/// Fields as a line to read, in the order in which they were asked for.
pub(super) fn details(name: &str, fields: &[Field], details: &Details) -> String {
    let mut line = format!("{name} --");
    for (index, &field) in fields.iter().enumerate() {
        let value = details.get(field).map(|value| readable(field, value)).unwrap_or_default();
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(line, "{comma} {field}: {value}");
    }
    line.push('\n');
    line
}

/// As the line of the status has it where that has it; lists and maps as JSON.
fn readable(field: Field, value: &Value) -> String {
    match (field, value) {
        (Field::Uptime, Value::Float(seconds)) => {
            elapsed(Duration::try_from_secs_f64(*seconds).unwrap_or_default())
        }
        (Field::CpuPercent | Field::MemoryPercent, Value::Float(percent)) => {
            format!("{percent:.1}")
        }
        (_, Value::Text(text)) => one_line(text),
        _ => json::value(value),
    }
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
    fn nothing_is_left_for_a_terminal_to_obey() {
        assert_eq!(
            harmless("a\x1b[31mr\u{9b}2J\r\0\x7f"),
            "a\\u{1b}[31mr\\u{9b}2J\\u{d}\\u{0}\\u{7f}"
        );
        let text = "two\n\tlines, \u{e9}\u{4e2d} \\ \"\n";
        assert_eq!(harmless(text), text);
    }

    #[test]
    fn times_are_told_as_the_original_tells_them() {
        let told = |seconds| elapsed(Duration::from_secs(seconds));
        assert_eq!(told(0), "0m");
        assert_eq!(told(30), "1m");
        assert_eq!(told(3600), "1h 0m");
        assert_eq!(told(86400), "1d 0h 0m");
        assert_eq!(told(999_999), "11d 13h 47m");
        let own_tests = [(1000, "17m"), (10_000, "2h 47m"), (100_000, "1d 3h 47m")];
        assert_eq!(own_tests.map(|(seconds, _)| told(seconds)), own_tests.map(|(_, text)| text));
    }

    #[test]
    fn fuzz_texts() {
        crate::fuzz::hold_text("words", |text| {
            assert!(harmless(text).chars().all(|c| !c.is_control() || "\n\t".contains(c)));
            assert!(one_line(text).chars().all(|c| !c.is_control()));
        });
    }
}
