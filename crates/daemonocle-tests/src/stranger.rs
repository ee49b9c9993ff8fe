//! Processes that have nothing to do with any daemon.

use std::process::{Child, Command, Stdio};

use crate::process::Pid;

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
