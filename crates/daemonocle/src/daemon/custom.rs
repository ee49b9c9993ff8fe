//! Actions by name, those of the program's own among them.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::action::{self, Outcome, Start, Stop};
use crate::error::{Error, Exit, Kind, Result, chain};

use super::Daemon;
#[cfg(feature = "cli")]
use super::options::Bound;

/// The actions that every daemon has, in this order.
const BUILT_IN: [&str; 4] = ["start", "stop", "restart", "status"];

/// The one that a daemon has whose definition says `reload_on_hup`.
pub(super) const RELOAD: &str = "reload";

/// An action of the program's own.
#[derive(Clone)]
pub(crate) struct Custom {
    name: String,
    perform: Arc<dyn Perform>,
}

/// What such an action does.
pub(crate) trait Perform: Send + Sync {
    /// Does it, with all options at their defaults.
    fn by_default(&self, name: &str, daemon: &Daemon) -> Result;

    /// Describes it, its options included.
    #[cfg(feature = "cli")]
    fn describe(&self, command: clap::Command) -> clap::Command;

    /// What to do with options that have been parsed.
    #[cfg(feature = "cli")]
    fn bind(&self, name: &str, matches: &clap::ArgMatches) -> Result<Bound, clap::Error>;
}

impl Daemon {
    /// Registers an action of the program's own: [`actions`](Self::actions) lists it,
    /// [`do_action`](Self::do_action) does it, and on the command line it is a command beside `start` and
    /// the others, with `about` for its help. One that takes options is registered by `action_with`
    /// (feature `cli`). Default: there are none.
    ///
    /// The name is a word of ASCII letters, digits and dashes that begins with a letter, not the one of
    /// another action nor `help`, or every action fails. Underscores in it become dashes.
    ///
    /// The action runs in the process that was asked for it, gets this definition, and may call everything
    /// on it. Its error is that of [`do_action`](Self::do_action); the command line prints it as
    /// `ERROR: …`, with all its causes, and ends with exit code 1. An [`Exit`] has an exit code of its
    /// own, and without a message nothing is printed; an [`Error`] of the library keeps its own too. A
    /// panic is nobody's but the program's: 101.
    ///
    /// ```
    /// use daemonocle::{Daemon, Exit, Outcome};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("example.pid");
    /// let daemon = Daemon::new("example").pid_file(path).action(
    ///     "threads",
    ///     "Tell how many threads the daemon has.",
    ///     |daemon| {
    ///         let Some(details) = daemon.status_of(&[daemonocle::Field::NumThreads])? else {
    ///             return Err(Exit::with_message("there is no daemon").into());
    ///         };
    ///         println!("{details:?}");
    ///         Ok(())
    ///     },
    /// );
    /// assert_eq!(daemon.actions(), ["start", "stop", "restart", "status", "threads"]);
    /// assert_eq!(daemon.do_action("threads").unwrap_err().to_string(), "there is no daemon");
    ///
    /// let error = Daemon::new("example").action("stop", "", |_| Ok(())).check().unwrap_err();
    /// assert_eq!(error.to_string(), "action \"stop\" is there already: give yours another name");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn action(
        self,
        name: impl Into<String>,
        about: impl Into<String>,
        run: impl Fn(&Self) -> Result + Send + Sync + 'static,
    ) -> Self {
        self.register(name.into(), Plain { about: about.into(), run: Arc::new(run) })
    }

    pub(crate) fn register(mut self, name: String, perform: impl Perform + 'static) -> Self {
        let name = name.replace('_', "-");
        let names = self.customs.iter().map(Custom::name).chain(self.reload.map(|_| RELOAD));
        match objection(&name, names) {
            Some(text) => self.object(text),
            None => {
                let place = self.customs.partition_point(|other| other.rank().lt(rank(&name)));
                self.customs.insert(place, Custom { name, perform: Arc::new(perform) });
            }
        }
        self
    }

    /// The names of all actions: `start`, `stop`, `restart`, `status`, then `reload` if the definition says
    /// [`reload_on_hup`](Self::reload_on_hup), and then those of the program's own by their names, which is
    /// also the order of the help text.
    ///
    /// ```
    /// let daemon = daemonocle::Daemon::new("example")
    ///     .action("rotate_logs", "Begin new log files.", |_| Ok(()))
    ///     .action("full_status", "Tell more.", |_| Ok(()));
    /// let names = ["start", "stop", "restart", "status", "full-status", "rotate-logs"];
    /// assert_eq!(daemon.actions(), names);
    /// ```
    #[must_use]
    pub fn actions(&self) -> Vec<&str> {
        let reload = self.reload.map(|_| RELOAD);
        BUILT_IN.into_iter().chain(reload).chain(self.customs.iter().map(Custom::name)).collect()
    }

    /// Does the action of this name, with all its options at their defaults; dashes and underscores are
    /// the same. Prints nothing itself, as [`start`](Self::start) and all calls of the library.
    ///
    /// `status` comes to [`Outcome::Running`] or [`Outcome::NotRunning`], an action of the program's own
    /// to [`Outcome::Done`], and the others to what the call of their name comes to.
    ///
    /// # Errors
    ///
    /// Those of the action; or [`Error::is_usage`] if there is none of this name, or if it cannot do
    /// without an option.
    ///
    /// ```
    /// use daemonocle::{Daemon, Outcome};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("example.pid");
    /// let daemon =
    ///     Daemon::new("example").pid_file(path).action("full-status", "Tell more.", |_| Ok(()));
    /// assert_eq!(daemon.do_action("stop")?, Outcome::NotRunning);
    /// assert_eq!(daemon.do_action("full_status")?, Outcome::Done);
    ///
    /// let error = daemon.do_action("begin").unwrap_err();
    /// let text = "Invalid action \"begin\": choose from start, stop, restart, status, full-status";
    /// assert_eq!(error.to_string(), text);
    /// assert!(error.is_usage());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn do_action(&self, name: &str) -> Result<Outcome, Error> {
        match name {
            "start" => self.start(&Start::default()),
            "stop" => self.stop(&Stop::default()),
            "restart" => self.restart(&Stop::default(), &Start::default()),
            "status" => {
                let pid = action::running(&self.settings, &mut |_| {})?;
                Ok(pid.map_or(Outcome::NotRunning, |pid| Outcome::Running { pid }))
            }
            _ => {
                self.settings.check_words()?;
                if let (RELOAD, Some(reload)) = (name, self.reload) {
                    return reload(&self.settings, &mut |_| {});
                }
                let custom = self.custom(&name.replace('_', "-"));
                let custom = custom.ok_or_else(|| self.invalid(name))?;
                outcome(&custom.name, custom.perform.by_default(&custom.name, self))
            }
        }
    }

    /// Something is wrong with the name of an action. The first one is enough to tell.
    pub(super) fn object(&mut self, text: String) {
        self.settings.objection.get_or_insert(text);
    }

    /// Whether there is an action of this name.
    pub(crate) fn check_action(&self, name: &str) -> Result<(), Error> {
        let is_there = self.actions().contains(&&*name.replace('_', "-"));
        if is_there { Ok(()) } else { Err(self.invalid(name)) }
    }

    /// The registered action of this name.
    pub(crate) fn custom(&self, name: &str) -> Option<&Custom> {
        self.customs.iter().find(|custom| custom.name == name)
    }

    #[cfg(feature = "cli")]
    pub(crate) fn customs(&self) -> &[Custom] {
        &self.customs
    }

    fn invalid(&self, name: &str) -> Error {
        let names = self.actions().join(", ");
        Error::usage(format!("Invalid action {name:?}: choose from {names}"))
    }
}

impl Custom {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As a command.
    #[cfg(feature = "cli")]
    pub(crate) fn command(&self) -> clap::Command {
        self.perform.describe(clap::Command::new(self.name.clone()))
    }

    /// With the options that have been parsed.
    #[cfg(feature = "cli")]
    pub(crate) fn bind(&self, matches: &clap::ArgMatches) -> Result<Bound, clap::Error> {
        self.perform.bind(&self.name, matches)
    }

    fn rank(&self) -> impl Iterator<Item = u8> {
        rank(&self.name)
    }
}

/// What to sort by: the original sorts the names of methods, which have underscores.
fn rank(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().map(|byte| if byte == b'-' { b'_' } else { byte })
}

/// What is wrong with a name.
fn objection<'a>(name: &str, mut others: impl Iterator<Item = &'a str>) -> Option<String> {
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_word {
        return Some(format!(
            "action {name:?} must be a word of ASCII letters, digits and dashes that begins with a \
             letter: rename it"
        ));
    }
    let is_taken = name == "help" || BUILT_IN.contains(&name) || others.any(|other| other == name);
    is_taken.then(|| taken(name))
}

pub(super) fn taken(name: &str) -> String {
    format!("action {name:?} is there already: give yours another name")
}

/// What an action of the program's own has come to.
pub(super) fn outcome(name: &str, result: Result) -> Result<Outcome, Error> {
    let Err(error) = result else {
        return Ok(Outcome::Done);
    };
    let error = match error.downcast::<Error>() {
        Ok(error) => return Err(*error),
        Err(error) => error,
    };
    Err(match error.downcast_ref::<Exit>() {
        Some(Exit { code: 0, message: None }) => return Ok(Outcome::Done),
        Some(exit @ Exit { code, message: None }) => {
            let text = format!("action {name:?} has ended with {exit}");
            Error::new(Kind::Exit, text).with_exit_code(*code)
        }
        Some(Exit { code, message: Some(text) }) => {
            Error::new(Kind::Action, text).with_exit_code(*code)
        }
        None => Error::new(Kind::Action, chain(error.as_ref())),
    })
}

/// An action without options.
struct Plain<F> {
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only the command line shows it"))]
    about: String,
    run: Arc<F>,
}

impl<F: Fn(&Daemon) -> Result + Send + Sync + 'static> Perform for Plain<F> {
    fn by_default(&self, _: &str, daemon: &Daemon) -> Result {
        (self.run)(daemon)
    }

    #[cfg(feature = "cli")]
    fn describe(&self, command: clap::Command) -> clap::Command {
        command.about(self.about.clone())
    }

    #[cfg(feature = "cli")]
    fn bind(&self, name: &str, _: &clap::ArgMatches) -> Result<Bound, clap::Error> {
        let run = Arc::clone(&self.run);
        Ok(Bound::new(name, move |daemon| run(daemon)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> Daemon {
        let register = |daemon: Daemon, name: &&str| daemon.action(*name, "", |_| Ok(()));
        names.iter().fold(Daemon::new("example"), register)
    }

    #[test]
    fn names_are_words_of_their_own() {
        for (names, wrong) in [
            (&[""][..], r#""""#),
            (&["two words"], r#""two words""#),
            (&["-x"], r#""-x""#),
            (&["_x"], r#""-x""#),
            (&["4x"], r#""4x""#),
            (&["größe"], r#""größe""#),
            (&["a\nb"], r#""a\nb""#),
            (&["start"], r#""start""#),
            (&["status"], r#""status""#),
            (&["help"], r#""help""#),
            (&["a", "a"], r#""a""#),
            (&["a-b", "a_b"], r#""a-b""#),
            (&["fine", "stop", ""], r#""stop""#),
        ] {
            let daemon = with(names);
            for error in [
                daemon.check().unwrap_err(),
                daemon.stop(&Stop::default()).unwrap_err(),
                daemon.do_action("fine").unwrap_err(),
            ] {
                assert!(error.is_definition(), "{names:?}: {error}");
                assert!(error.to_string().starts_with(&format!("action {wrong} ")), "{error}");
            }
        }
        assert!(with(&["a", "b-c", "B-c", "x2", "reload"]).check().is_ok());
    }

    #[test]
    fn the_order_is_that_of_the_original() {
        let daemon = with(&["b", "a-b", "a1", "ab", "a", "Z"]);
        assert_eq!(daemon.actions()[4..], ["Z", "a", "a1", "a-b", "ab", "b"]);
    }

    #[test]
    fn errors_keep_what_they_know() {
        let of = |error: Box<dyn std::error::Error + Send + Sync>| outcome("x", Err(error));
        let told = |result: Result<Outcome, Error>| {
            result.map_err(|error| (error.exit_code(), error.to_string(), error.is_usage()))
        };
        assert_eq!(told(outcome("x", Ok(()))), Ok(Outcome::Done));
        assert_eq!(told(of(Exit::with_code(0).into())), Ok(Outcome::Done));
        let text = "action \"x\" has ended with exit code 3".into();
        assert_eq!(told(of(Exit::with_code(3).into())), Err((3, text, false)));
        assert_eq!(told(of(Exit::with_message("no").into())), Err((1, "no".into(), false)));
        assert_eq!(told(of("no".into())), Err((1, "no".into(), false)));
        assert_eq!(told(of(Error::usage("no").into())), Err((2, "no".into(), true)));
    }
}
