//! The answers of `status`, as text or JSON.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::action::{Details, Field, Status};
use crate::error::Error;

use super::args::Format;
use super::json;
use super::render::{self, Teller};
use super::run::{done, failed};

/// The two forms of an answer of this kind, of which each is told by its name.
pub(super) struct Form<A, B> {
    text: A,
    json: B,
}

impl<A, B> Form<A, B> {
    /// The answer of one daemon, in this format; `None`: it is not running.
    pub(super) fn line<T>(&self, name: &str, answer: Option<&T>, format: Format) -> String
    where
        A: Fn(&str, &T) -> String,
        B: Fn(&str, &T) -> String,
    {
        match (answer, format) {
            (Some(answer), Format::Text) => (self.text)(name, answer),
            (Some(answer), Format::Json) => (self.json)(name, answer),
            (None, Format::Text) => render::not_running(name),
            (None, Format::Json) => json::not_running(name),
        }
    }
}

pub(super) fn of_status() -> Form<impl Fn(&str, &Status) -> String, impl Fn(&str, &Status) -> String>
{
    Form { text: render::status, json: json::status }
}

pub(super) fn of_fields(
    fields: &[Field],
) -> Form<impl Fn(&str, &Details) -> String, impl Fn(&str, &Details) -> String> {
    let text = |name: &str, details: &Details| render::details(name, fields, details);
    Form { text, json: |_: &str, details: &Details| json::details(details) }
}

/// The place of one that cannot be told.
pub(super) fn unknown(name: &str, format: Format) -> String {
    match format {
        Format::Text => render::unknown(name),
        Format::Json => json::unknown(name),
    }
}

/// Shows the answer of one daemon.
pub(super) fn show<T>(
    name: &str,
    result: &Result<Option<T>, Error>,
    format: Format,
    form: &Form<impl Fn(&str, &T) -> String, impl Fn(&str, &T) -> String>,
    teller: &mut Teller,
) -> ExitCode {
    match result {
        Ok(answer) => print(&form.line(name, answer.as_ref(), format), answer.is_some()),
        Err(error) => failed(error, teller),
    }
}

/// Prints an answer, and tells by the exit code whether all of whom it is are running.
pub(super) fn print(text: &str, are_running: bool) -> ExitCode {
    match (done(render::out(text)), are_running) {
        (code, true) => code,
        (_, false) => ExitCode::FAILURE,
    }
}
