//! A daemon to be tested: its definition, handed to the fixture program by its environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::process::Pid;
use crate::run::{Output, Run, Running};
use crate::sandbox::{MARKER, Sandbox};

/// What can be done besides `start`, with a daemon that reloads when it is asked to.
pub const NOT_START: [&[&str]; 5] =
    [&["status"], &["stop"], &["stop", "--force", "--timeout", "0"], &["restart"], &["reload"]];

/// The description of a daemon; see `src/bin/fixture/main.rs` for what can be set.
#[derive(Clone)]
pub struct Fixture<'a> {
    sandbox: &'a Sandbox,
    program: PathBuf,
    variables: BTreeMap<String, OsString>,
    caller: Option<(u32, u32)>,
}

impl<'a> Fixture<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox, worker: &str) -> Self {
        let variables = BTreeMap::new();
        Self { sandbox, program: program("fixture"), variables, caller: None }
            .set("worker", worker)
            .set("pid_file", sandbox.path("example.pid"))
            .set("hook_log", sandbox.path("hook.log"))
    }

    /// Sets one item of the definition.
    #[must_use]
    pub fn set(mut self, item: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.insert(item.to_uppercase(), value.as_ref().to_owned());
        self
    }

    /// Leaves one item of the definition at its default.
    #[must_use]
    pub fn unset(mut self, item: &str) -> Self {
        self.variables.remove(&item.to_uppercase());
        self
    }

    /// Makes the fixture program executable for every user, by a copy in the sandbox.
    ///
    /// # Panics
    ///
    /// If it cannot be copied.
    #[must_use]
    pub fn for_everybody(mut self) -> Self {
        let copy = self.sandbox.path("fixture");
        if !copy.exists() {
            copy_program(&self.program, &copy);
        }
        self.program = copy;
        self
    }

    /// Has all runs of its command line made by another user, with a group of the same number. Needs root.
    #[must_use]
    pub fn by_user(self, uid: u32) -> Self {
        Self { caller: Some((uid, uid)), ..self.for_everybody() }
    }

    /// The sandbox that it belongs to.
    #[must_use]
    pub fn sandbox(&self) -> &'a Sandbox {
        self.sandbox
    }

    /// The path of the fixture program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The path of its PID file, whether it is there or not.
    ///
    /// # Panics
    ///
    /// If it has none.
    #[must_use]
    #[track_caller]
    pub fn pid_file(&self) -> PathBuf {
        self.variables.get("PID_FILE").expect("it has no PID file").into()
    }

    /// A run of another command, which dies with the sandbox as well.
    #[must_use]
    pub fn watch(&self, words: &[&str]) -> Run {
        Run::new(Path::new(words[0]), self.sandbox.dir()).args(&words[1..])
    }

    /// A run of the command line with these arguments, not yet begun.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut run = Run::new(&self.program, self.sandbox.dir()).args(arguments);
        for (item, value) in &self.variables {
            run = run.env(&format!("FIXTURE_{item}"), value);
        }
        match self.caller {
            Some((uid, gid)) => run.as_user(uid, gid),
            None => run,
        }
    }

    /// Its definition and the mark of its sandbox, as words for env(1).
    ///
    /// # Panics
    ///
    /// If one is not UTF-8.
    #[must_use]
    pub fn environment(&self) -> Vec<String> {
        let items = self.variables.iter();
        let items =
            items.map(|(item, value)| format!("FIXTURE_{item}={}", value.to_str().unwrap()));
        items.chain([format!("{MARKER}={}", self.sandbox.dir().display())]).collect()
    }

    /// Runs `start`.
    #[track_caller]
    pub fn start(&self) -> Output {
        self.run(&["start"]).finish()
    }

    /// Runs `stop`.
    #[track_caller]
    pub fn stop(&self) -> Output {
        self.run(&["stop"]).finish()
    }

    /// Runs `restart`.
    #[track_caller]
    pub fn restart(&self) -> Output {
        self.run(&["restart"]).finish()
    }

    /// Runs `reload`.
    #[track_caller]
    pub fn reload(&self) -> Output {
        self.run(&["reload"]).finish()
    }

    /// Runs `status`.
    #[track_caller]
    pub fn status(&self) -> Output {
        self.run(&["status"]).finish()
    }

    /// Runs all actions, each of which must fail with each of `parts` on standard error. The daemon has to
    /// be one with `on_hup`.
    ///
    /// # Panics
    ///
    /// If one does not.
    #[track_caller]
    pub fn expect_refused(&self, parts: &[&str]) {
        self.start().expect_error(1, "Starting example ... FAILED\n", parts);
        for arguments in NOT_START {
            self.run(arguments).finish().expect_error(1, "", parts);
        }
    }

    /// Begins `start --debug`.
    #[track_caller]
    pub fn foreground(&self) -> Running {
        self.run(&["start", "--debug"]).spawn()
    }

    /// Runs `start`, which must succeed, and gives the PID of the daemon.
    ///
    /// # Panics
    ///
    /// If it does not say what a start has to say, or no PID is in the PID file.
    #[track_caller]
    pub fn started(&self) -> Pid {
        self.start().expect(0, "Starting example ... OK\n", "");
        self.pid().expect("no PID in the PID file after a successful start")
    }

    /// Waits until a start that is under way has succeeded, and gives the PID of the daemon: that
    /// is what a second start does.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    pub fn settled(&self) -> Pid {
        let output = self.start();
        assert!(output.stderr.contains("already running"), "{output:?}");
        self.pid().expect("no PID in the PID file of a running daemon")
    }

    /// The PID in the PID file, if its text is one line with a number.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        let path = self.variables.get("PID_FILE")?;
        let text = std::fs::read_to_string(path).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    /// What the shutdown hook has written, a line per run: `exit code|reason`.
    #[must_use]
    pub fn hook_log(&self) -> String {
        self.sandbox.read("hook.log")
    }
}

/// A program of this package: beside the test program, or where Cargo puts it, one directory above.
///
/// # Panics
///
/// If it is not built.
#[must_use]
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let place = test.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    place
        .filter(|path| Path::is_file(path))
        .last()
        .unwrap_or_else(|| panic!("the program {name:?} is not built"))
}

/// Copies a program that is to be run from there. By cp(1): a test beside this one may fork while the copy is open
/// for writing here, and then nobody could run it for a moment (`ETXTBSY`, execve(2)).
///
/// # Panics
///
/// If that is not possible.
#[track_caller]
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = std::process::Command::new("cp").args([from.as_ref(), to.as_ref()]).status();
    assert!(status.unwrap().success());
}
