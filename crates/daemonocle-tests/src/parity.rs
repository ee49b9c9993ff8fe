//! One and the same case with the original and with ours.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::fixture::Fixture;
use crate::privilege::skip;
use crate::process::{Pid, stat, status_field};
use crate::run::{Output, Run, Running};
use crate::sandbox::Sandbox;
use crate::wait::{eventually, within};

/// What a command comes to: its exit code, standard output and standard error.
pub type Answer<'a> = (i32, &'a str, &'a str);

/// One of the two, with a definition.
pub struct Side<'a> {
    /// Its definition.
    pub fixture: Fixture<'a>,
    /// What runs the original; `None`: this is ours.
    python: Option<&'static str>,
}

/// Does `case` with ours, and then with the original, each in a sandbox of its own.
///
/// The original is asked where a Python has it in the version that is re-created: the one that
/// `DAEMONOCLE_PYTHON` names, or `python3`. Elsewhere only ours is, and that is said of the test with
/// this name.
///
/// # Panics
///
/// As the case does.
#[track_caller]
pub fn both(name: &str, worker: &str, case: impl Fn(&Side<'_>)) {
    let original = original();
    for python in [None].into_iter().chain(original.ok().map(Some)) {
        let sandbox = Sandbox::new();
        case(&Side { fixture: sandbox.fixture(worker), python });
    }
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if let Err(why) = original
        && TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned())
    {
        skip(name, why);
    }
}

/// A Python that has the original, or why it cannot be asked.
fn original() -> Result<&'static str, &'static str> {
    static FOUND: OnceLock<Result<String, &str>> = OnceLock::new();
    let find = || {
        let python = std::env::var("DAEMONOCLE_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = "import daemonocle.helpers; from importlib.metadata import version; \
                      print(version('daemonocle'))";
        let output = Command::new(&python).args(["-c", script]).output();
        if !output.is_ok_and(|output| output.stdout == b"1.2.3\n") {
            return Err("without the original: neither python3 nor DAEMONOCLE_PYTHON is one with \
                        daemonocle 1.2.3");
        }
        // The original takes a zombie for a process: whatever it waits for has to be buried within the
        // shortest time-out of the tests.
        let script = "sleep 0.01 > /dev/null & echo $!";
        let orphan = Command::new("sh").args(["-c", script]).output().unwrap();
        let orphan: Pid = String::from_utf8_lossy(&orphan.stdout).trim().parse().unwrap();
        match within(Duration::from_secs(3), || stat(orphan).is_none().then_some(())) {
            Some(()) => Ok(python),
            None => Err("without the original: PID 1 is slow to bury the dead here"),
        }
    };
    FOUND.get_or_init(find).as_deref().map_err(|why| *why)
}

impl<'a> Side<'a> {
    /// With one more item of the definition.
    #[must_use]
    pub fn set(&self, item: &str, value: impl AsRef<OsStr>) -> Self {
        Self { fixture: self.fixture.clone().set(item, value), ..*self }
    }

    /// With one item of the definition at its default.
    #[must_use]
    pub fn unset(&self, item: &str) -> Self {
        Self { fixture: self.fixture.clone().unset(item), ..*self }
    }

    /// With a program that every user may run.
    #[must_use]
    pub fn for_everybody(&self) -> Self {
        Self { fixture: self.fixture.clone().for_everybody(), ..*self }
    }

    /// The first for ours, the second for the original.
    pub fn pick<T>(&self, ours: T, theirs: T) -> T {
        if self.is_original() { theirs } else { ours }
    }

    /// Whether it is the original.
    #[must_use]
    pub fn is_original(&self) -> bool {
        self.python.is_some()
    }

    /// Which of the two it is.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.pick("ours", "the original")
    }

    /// Its sandbox.
    #[must_use]
    pub fn sandbox(&self) -> &'a Sandbox {
        self.fixture.sandbox()
    }

    /// The PID in the PID file.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> Pid {
        self.fixture.pid().expect("a PID in the PID file")
    }

    /// Whether the PID file exists.
    #[must_use]
    pub fn has_pid_file(&self) -> bool {
        self.fixture.pid_file().exists()
    }

    /// A run of the command line with these arguments, not yet begun.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Run {
        let Some(python) = self.python else {
            return self.fixture.run(arguments);
        };
        let script = self.sandbox().write("original.py", include_str!("original.py"));
        let run = self.fixture.watch(&[python, script.to_str().unwrap()]).args(arguments);
        let environment = self.fixture.environment();
        let pairs = environment.iter().filter_map(|item| item.split_once('='));
        pairs.fold(run, |run, (name, value)| run.env(name, value))
    }

    /// Runs it: both come to this. `DIR` is the sandbox; a PID is `n`, and the one in the PID file
    /// before or after.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn does(&self, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
        self.differs(arguments, (code, stdout, stderr), (code, stdout, stderr));
    }

    /// Runs it: ours comes to the first, the original to the second. Otherwise as [`does`](Self::does).
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn differs(&self, arguments: &[&str], ours: Answer<'_>, theirs: Answer<'_>) {
        let before = self.fixture.pid();
        let output = self.run(arguments).finish();
        self.came_to(&output, before, self.pick(ours, theirs));
    }

    /// Checks what a run has come to, as [`does`](Self::does).
    ///
    /// # Panics
    ///
    /// If it has not.
    #[track_caller]
    pub fn came_to(&self, output: &Output, before: Option<Pid>, wanted: Answer<'_>) {
        let plain = |text: &str| {
            let mut text = text.replace(self.sandbox().dir().to_str().unwrap(), "DIR");
            for pid in [before, self.fixture.pid()].into_iter().flatten() {
                text = text.replace(&format!("PID {pid}\n"), "PID n\n");
                text = text.replace(&format!("PID {pid})"), "PID n)");
                text = text.replace(&format!(" pid: {pid}"), " pid: n");
            }
            text
        };
        let (stdout, stderr) = (plain(&output.stdout), plain(&output.stderr));
        let is = (output.code(), &*stdout, &*stderr);
        assert_eq!(is, (Some(wanted.0), wanted.1, wanted.2), "{}: {output:?}", self.name());
    }

    /// Begins a start in the foreground, and waits until the worker is under way.
    ///
    /// # Panics
    ///
    /// If that does not come.
    #[track_caller]
    pub fn foreground(&self) -> Running {
        let running = self.run(&["start", "--debug"]).spawn();
        running.says("Starting example ... OK\n");
        if !self.is_original() {
            self.fixture.settled();
            return running;
        }
        eventually("there is a PID file", || self.fixture.pid().is_some());
        let term = 1_u64 << (libc::SIGTERM - 1);
        eventually("it has its handlers, and sleeps", || {
            let caught = u64::from_str_radix(&status_field(self.pid(), "SigCgt"), 16);
            caught.is_ok_and(|mask| mask & term != 0)
                && stat(self.pid()).is_some_and(|stat| stat.state == 'S')
        });
        running
    }
}
