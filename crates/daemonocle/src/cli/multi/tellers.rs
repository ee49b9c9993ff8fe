//! Outcomes and answers of many workers as text.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::cli::answer::{Form, print, unknown};
use crate::cli::args::Format;
use crate::cli::json;
use crate::cli::render::Teller;
use crate::cli::run::failed;
use crate::error::{Error, Result};
use crate::multi::{Multi, WorkerResult, Workers};

/// Shows to a person what becomes of each worker.
pub(super) struct Tellers {
    /// One where it is not known who they are.
    all: Vec<Teller>,
    nobody: Teller,
}

impl Tellers {
    pub(super) fn new(multi: &Multi, which: Workers) -> Self {
        let names = multi.settings(which).unwrap_or_default().into_iter().map(|one| one.name);
        let teller = |name: String| match which {
            Workers::All => Teller::of_many(&name),
            Workers::One(_) => Teller::new(&name),
        };
        Self {
            all: names.map(teller).collect(),
            nobody: Teller::new(&multi.daemon().settings().name),
        }
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Teller {
        self.all.get_mut(place).unwrap_or(&mut self.nobody)
    }

    /// What concerns all.
    pub(super) fn failed(&mut self, error: &Error) -> ExitCode {
        failed(error, &mut self.nobody)
    }

    /// Shows the answers for all workers.
    pub(super) fn show<T>(
        &mut self,
        results: Result<Vec<WorkerResult<Option<T>>>, Error>,
        format: Format,
        form: &Form<impl Fn(&str, &T) -> String, impl Fn(&str, &T) -> String>,
    ) -> ExitCode {
        let results = match results {
            Ok(results) => results,
            Err(error) => return self.failed(&error),
        };
        let mut lines = Vec::new();
        let mut are_running = true;
        for (place, WorkerResult { name, result, .. }) in results.iter().enumerate() {
            match result {
                Ok(answer) => lines.push(form.line(name, answer.as_ref(), format)),
                // It keeps its place: whoever asks for all finds them by their numbers.
                Err(error) => {
                    self.at(place).error(error);
                    lines.push(unknown(name, format));
                }
            }
            are_running &= matches!(result, Ok(Some(_)));
        }
        let text = match format {
            Format::Text => lines.concat(),
            Format::Json => json::list(&lines),
        };
        print(&text, are_running)
    }
}
