//! A directory of its own for each test, and an end for everything that the test has started.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::fixture::Fixture;
use crate::process::{Pid, is_alive, stat};
use crate::wait::{DEADLINE, within};

/// The variable in the environment of everything that a sandbox starts.
pub(crate) const MARKER: &str = "DAEMONOCLE_TESTS_SANDBOX";

/// A private directory, and all processes started from it.
pub struct Sandbox {
    dir: PathBuf,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// Makes an empty one.
    ///
    /// # Panics
    ///
    /// If the directory cannot be made.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let base = fs::canonicalize(std::env::temp_dir()).unwrap();
        loop {
            let count = COUNT.fetch_add(1, Ordering::SeqCst);
            let dir = base.join(format!("daemonocle-tests-{}-{count}", std::process::id()));
            match fs::DirBuilder::new().mode(0o755).create(&dir) {
                Ok(()) => {
                    // Whatever the umask: daemons of other users have to get in.
                    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
                    return Self { dir };
                }
                // Left by a test run that was killed, whose PID has come round again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {dir:?}: {error}"),
            }
        }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in the directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A daemon named `example`, with its PID file `example.pid` in the directory, whose worker
    /// does what `src/bin/fixture/worker.rs` has under this name.
    #[must_use]
    pub fn fixture(&self, worker: &str) -> Fixture<'_> {
        Fixture::new(self, worker)
    }

    /// Writes a file in the directory, and gives its path.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// The contents of a file in the directory; empty if there is none.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read(self.path(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Makes a directory in the directory, with this mode, and gives its path.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[track_caller]
    pub fn make_dir(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Makes a FIFO in the directory, and gives its path.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[track_caller]
    pub fn make_fifo(&self, name: &str) -> PathBuf {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = self.path(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        path
    }

    /// The names in the directory, sorted.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The living processes that were started from here, directly or not.
    #[must_use]
    pub fn survivors(&self) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|&pid| self.owns(pid) && is_alive(pid))
            .collect()
    }

    /// Waits until nothing that was started from here is alive.
    ///
    /// # Panics
    ///
    /// If something still is after [`DEADLINE`].
    #[track_caller]
    pub fn expect_nobody(&self) {
        let gone = within(DEADLINE, || self.survivors().is_empty().then_some(()));
        assert!(gone.is_some(), "still alive: {:?}", self.survivors());
    }

    /// Sends a signal to a process that was started from here.
    ///
    /// # Panics
    ///
    /// If it was not, or is gone.
    #[track_caller]
    pub fn signal(&self, pid: Pid, signal: Signal) {
        self.try_signal(pid, signal).unwrap_or_else(|error| panic!("signal to {pid}: {error}"));
    }

    /// Kills a process that was started from here and waits until it is dead.
    ///
    /// # Panics
    ///
    /// If it was not started from here, or does not die.
    #[track_caller]
    pub fn kill(&self, pid: Pid) {
        self.signal(pid, Signal::KILL);
        assert!(within(DEADLINE, || (!is_alive(pid)).then_some(())).is_some(), "{pid} lives on");
    }

    /// Sends a signal to a process that was started from here, if it is still there.
    ///
    /// # Errors
    ///
    /// It is gone, or was not started from here.
    pub fn try_signal(&self, pid: Pid, signal: Signal) -> io::Result<()> {
        let Some(number) = rustix::process::Pid::from_raw(pid) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let handle = pidfd_open(number, PidfdFlags::empty())?;
        // Asked after the handle was opened: it cannot be somebody else any more.
        if !self.owns(pid) {
            return Err(io::Error::other("it was not started by this test"));
        }
        Ok(pidfd_send_signal(handle, signal)?)
    }

    /// Whether the environment of this process names this sandbox. A zombie has none, and of one whose main
    /// thread alone has ended the other threads have it.
    fn owns(&self, pid: Pid) -> bool {
        let mark = format!("{MARKER}={}", self.dir.display());
        let is_mine = |process: PathBuf| {
            fs::read(process.join("environ"))
                .is_ok_and(|text| text.split(|byte| *byte == 0).any(|word| word == mark.as_bytes()))
        };
        let process = PathBuf::from(format!("/proc/{pid}"));
        let threads = || fs::read_dir(process.join("task")).into_iter().flatten().flatten();
        is_mine(process.clone())
            || (stat(pid).is_some_and(|stat| stat.state == 'Z')
                && threads().any(|thread| is_mine(thread.path())))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Again and again: what is killed may have forked meanwhile.
        let _ = within(DEADLINE, || {
            let survivors = self.survivors();
            for &pid in &survivors {
                let _ = self.try_signal(pid, Signal::KILL);
            }
            survivors.is_empty().then_some(())
        });
        let _ = fs::remove_dir_all(&self.dir);
    }
}
