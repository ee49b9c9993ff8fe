//! Processes that have nothing to do with any daemon.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Child, Command, Stdio};

use crate::fixture::{Fixture, copy_program, program};
use crate::lock::places;
use crate::process::Pid;
use crate::run::{Run, Running};

/// One of them, which ends with this value.
pub struct Stranger(Child);

impl Default for Stranger {
    fn default() -> Self {
        Self::new()
    }
}

impl Stranger {
    /// Begins one.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.0.id().cast_signed()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    ///
    /// If it cannot be asked.
    #[must_use]
    pub fn is_unharmed(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Somebody else who holds very many locks, for root to make: on each of 900 files that byte which the daemon locks
/// for its PID file, and so many others. `way` is how he is run.
///
/// # Panics
///
/// If that is not possible.
#[must_use]
#[track_caller]
pub fn hold_locks(fixture: &Fixture<'_>, others: u32, way: impl Fn(Run) -> Run) -> Running {
    const ENEMY: u32 = 12345;
    let sandbox = fixture.sandbox();
    fs::set_permissions(sandbox.dir(), Permissions::from_mode(0o755)).unwrap();
    let dir = sandbox.make_dir("enemys", 0o755);
    chown(&dir, Some(ENEMY), Some(ENEMY)).unwrap();
    let copy = sandbox.path("hold_locks");
    copy_program(program("hold_locks"), &copy);
    let byte = places(&fixture.pid_file())[0].to_string();
    let others = others.to_string();
    let words = [copy.to_str().unwrap(), dir.to_str().unwrap(), &byte, "900", &others];
    let running = way(fixture.watch(&words).as_user(ENEMY, ENEMY)).spawn();
    running.says("ready");
    running
}
