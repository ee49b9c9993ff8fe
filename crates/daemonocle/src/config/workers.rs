//! The definitions of many workers, made of one whose names and paths are templates.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

use super::Settings;
use super::template::{Kind, WIDEST, Wrong, fill};

/// As many workers as there are at most: more than a machine has processes by default (proc(5),
/// `pid_max`).
const MOST: u32 = 65_536;

impl Settings {
    /// The settings of one of `count` workers.
    pub(crate) fn of_worker(&self, id: u32, count: u32) -> Result<Self, Error> {
        self.check_workers(count)?;
        if id >= count {
            let there_are = match count {
                1 => "there is one, with the number 0".to_owned(),
                count => format!("there are {count}, with numbers from 0 to {}", count - 1),
            };
            return Err(Error::usage(format!("there is no worker {id}: {there_are}")));
        }
        self.filled(id)
    }

    /// The settings of all workers.
    pub(crate) fn of_workers(&self, count: u32) -> Result<Vec<Self>, Error> {
        self.check_workers(count)?;
        (0..count).map(|id| self.filled(id)).collect()
    }

    fn check_workers(&self, count: u32) -> Result<(), Error> {
        self.check_words()?;
        if count == 0 || count > MOST {
            let message = format!("{count} workers are not possible: there can be 1 to {MOST}");
            return Err(Error::definition(message));
        }
        let (_, name) = text("name", &self.name, 0)?;
        if name == Kind::Shared && count > 1 {
            return Err(Error::definition(format!(
                "name {:?} is that of all {count} workers: put {{n}} into it, for their numbers",
                self.name
            )));
        }
        match &self.pid_file {
            Some(file) if path("PID file", file, 0)?.1 == Kind::Shared && count > 1 => {
                Err(Error::definition(format!(
                    "PID files must be unique, and {file:?} is that of all {count} workers: put {{n}} \
                     into it, for their numbers"
                )))
            }
            // Those of a layout have the name in theirs.
            None if self.layout.is_none() => Err(Error::definition(
                "many workers need PID files, without which they cannot be found: set pid_file",
            )),
            _ => Ok(()),
        }
    }

    fn filled(&self, id: u32) -> Result<Self, Error> {
        let mut it = self.clone();
        it.worker = Some(id);
        it.name = text("name", &self.name, id)?.0;
        it.work_dir = path("working directory", &self.work_dir, id)?.0;
        for (what, place) in [
            ("PID file", &mut it.pid_file),
            ("standard output file", &mut it.stdout_file),
            ("standard error file", &mut it.stderr_file),
            ("chroot directory", &mut it.chroot_dir),
        ] {
            if let Some(file) = place {
                *file = path(what, file, id)?.0;
            }
        }
        if let Some((layout, _)) = &mut it.layout {
            layout.change(
                |prefix| Ok(path("prefix of the layout", prefix, id)?.0),
                |log_prefix| Ok(text("prefix of the log files", log_prefix, id)?.0),
            )?;
        }
        Ok(it)
    }
}

fn text(what: &str, template: &str, id: u32) -> Result<(String, Kind), Error> {
    let (bytes, kind) =
        fill(template.as_bytes(), id).map_err(|wrong| at(what, template, &wrong))?;
    // Only ASCII was put in, between whole characters.
    Ok((String::from_utf8_lossy(&bytes).into_owned(), kind))
}

fn path(what: &str, template: &Path, id: u32) -> Result<(PathBuf, Kind), Error> {
    let bytes = template.as_os_str().as_bytes();
    let (bytes, kind) = fill(bytes, id).map_err(|wrong| at(what, template, &wrong))?;
    Ok((OsString::from_vec(bytes).into(), kind))
}

fn at(what: &str, template: impl std::fmt::Debug, Wrong(wrong): &Wrong<'_>) -> Error {
    let wrong = String::from_utf8_lossy(wrong);
    Error::definition(format!(
        "{what} {template:?}: {wrong:?} makes no sense: use {{n}}, {{n:4}} or {{n:04}} for the number \
         of a worker, in a width of {WIDEST} at most, and {{{{ and }}}} for braces"
    ))
}
