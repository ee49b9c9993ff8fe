//! A run of a command: what goes in, what comes out, and how long it may take.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::process::Pid;
use crate::sandbox::MARKER;
use crate::wait::{DEADLINE, eventually, within};

/// How long a whole command may take: a stop with its default time-out, and some.
const WHOLE: Duration = Duration::from_secs(50);

/// A command to be run, with captured output and `/dev/null` for its input.
pub struct Run {
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    user: Option<(u32, u32)>,
    dir: Option<PathBuf>,
    stdin: Stdio,
}

impl Run {
    pub(crate) fn new(program: &Path, sandbox: &Path) -> Self {
        Self {
            words: vec![program.into()],
            environment: vec![(MARKER.into(), sandbox.into()), ("TERM".into(), "xterm".into())],
            user: None,
            dir: None,
            stdin: Stdio::null(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.words.extend(arguments.iter().map(OsString::from));
        self
    }

    /// Sets a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    /// Runs it through a shell: the script has the command in `"$@"`.
    #[must_use]
    pub fn through(self, script: &str) -> Self {
        self.under(&["sh", "-c", script, "sh"])
    }

    /// Runs it through another program, which is given the command as its last arguments.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        let outer: Vec<_> = wrapper.iter().map(OsString::from).collect();
        self.words.splice(0..0, outer);
        self
    }

    /// Runs it as another user and group, without supplementary groups. Needs root.
    #[must_use]
    pub fn as_user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Runs it in this directory.
    #[must_use]
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Gives it this standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// The program and its arguments.
    #[must_use]
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// What is added to the environment.
    #[must_use]
    pub fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If that takes too long, or if somebody keeps its output open after its end.
    #[track_caller]
    pub fn finish(self) -> Output {
        self.spawn().finish()
    }

    /// Begins it.
    ///
    /// # Panics
    ///
    /// If the program cannot be run.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let mut command = self.into_command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = None;
        eventually("the program can be run", || match command.spawn() {
            // A test beside this one has just forked, with a descriptor through which a copy of the
            // program was written: until it calls exec(2), nobody can run that.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => false,
            result => {
                child = Some(result.unwrap_or_else(|error| panic!("{command:?}: {error}")));
                true
            }
        });
        let mut child = child.unwrap();
        let stdout = Gathered::from(child.stdout.take().unwrap());
        let stderr = Gathered::from(child.stderr.take().unwrap());
        Running { child, stdout, stderr }
    }

    /// The command as `std` has it, its output not yet captured.
    pub(crate) fn into_command(self) -> Command {
        /// What the tests themselves run under must not decide what they see.
        const DISTURBING: [&str; 7] = [
            "CI",
            "CLICOLOR",
            "CLICOLOR_FORCE",
            "COLORTERM",
            "NO_COLOR",
            "PIDFILE",
            "RUST_BACKTRACE",
        ];
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(self.stdin);
        for variable in DISTURBING {
            command.env_remove(variable);
        }
        command.envs(self.environment);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        command
    }
}

/// A command that is running.
pub struct Running {
    child: Child,
    stdout: Gathered,
    stderr: Gathered,
}

impl Running {
    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.child.id().cast_signed()
    }

    /// What it has written to standard output until now.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to standard error until now.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until it has written `text` to standard output.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn says(&self, text: &str) {
        let said = within(DEADLINE, || {
            // In this order: what it has said when it ended is all that it says.
            let is_complete = self.stdout.is_complete();
            let is_said = self.stdout().contains(text);
            (is_said || is_complete).then_some(is_said)
        });
        assert!(
            said == Some(true),
            "it has not said {text:?} but {:?}",
            (self.stdout(), self.stderr())
        );
    }

    /// Whether it has not ended yet.
    ///
    /// # Panics
    ///
    /// If it cannot be asked.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If that takes too long, or if somebody keeps its output open after its end.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let status = within(WHOLE, || self.child.try_wait().unwrap());
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let status = status
            .unwrap_or_else(|| panic!("no end within {WHOLE:?}; it said {:?}", (stdout, stderr)));
        let closed = within(DEADLINE, || {
            (self.stdout.is_complete() && self.stderr.is_complete()).then_some(())
        });
        assert!(closed.is_some(), "it has ended, and somebody still holds its output open");
        Output { stdout: self.stdout(), stderr: self.stderr(), status }
    }
}

/// What comes from a pipe.
struct Gathered {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Gathered {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let _ = sink.lock().unwrap().write_all(&buffer[..count]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn is_complete(&self) -> bool {
        self.reader.is_finished()
    }
}

/// What a command has left when it has ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    status: ExitStatus,
}

impl Output {
    /// Its exit code; `None` if a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Checks exit code, standard output and standard error, to the letter.
    ///
    /// # Panics
    ///
    /// If anything differs.
    #[track_caller]
    pub fn expect(&self, code: i32, stdout: &str, stderr: &str) -> &Self {
        let wanted = (Some(code), stdout, stderr);
        assert_eq!((self.code(), &*self.stdout, &*self.stderr), wanted, "{self:?}");
        self
    }

    /// Checks exit code and standard output to the letter, and that each of `parts` is somewhere
    /// on standard error.
    ///
    /// # Panics
    ///
    /// If anything differs.
    #[track_caller]
    pub fn expect_error(&self, code: i32, stdout: &str, parts: &[&str]) -> &Self {
        assert_eq!((self.code(), &*self.stdout), (Some(code), stdout), "{self:?}");
        for part in parts {
            let end = self.stderr.len().saturating_sub(2000);
            let end = self.stderr.get(end..).unwrap_or(&self.stderr);
            assert!(self.stderr.contains(part), "no {part:?} in what ends with {end:?}");
        }
        self
    }
}
