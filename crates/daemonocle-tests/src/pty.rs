//! A command on a terminal of its own, pty(7).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::process::Pid;
use crate::run::Run;
use crate::wait::{DEADLINE, within};

/// A terminal with a session on it, led by the command that was run.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Terminal {
    /// Runs a command as the leader of a new session whose terminal this is.
    ///
    /// # Panics
    ///
    /// If there is no terminal to be had.
    #[must_use]
    #[track_caller]
    pub fn of(run: Run) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let keyboard = keyboard.unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = open(name, flags, Mode::empty()).unwrap();

        let mut command = run.into_command();
        let stream = || Stdio::from(line.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: setsid(2) and ioctl(2) are allowed between fork and exec (signal-safety(7)), and
        // neither allocates nor locks anything here.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin().as_fd())?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // The command holds the line now: the screen ends with the last process on it.
        drop((command, line));

        let screen = Arc::new(Mutex::new(Vec::new()));
        let (sink, mut source) = (Arc::clone(&screen), File::from(keyboard.try_clone().unwrap()));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, keyboard: keyboard.into(), screen, reader }
    }

    /// The PID of the session's leader.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.child.id().cast_signed()
    }

    /// Types these keys.
    ///
    /// # Panics
    ///
    /// If the terminal is gone.
    #[track_caller]
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Hangs up, as a modem or a closed window does. Needs root.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    #[track_caller]
    pub fn hangs_up(&self) {
        /// asm-generic/ioctls.h, `TIOCVHANGUP`
        const HANG_UP: libc::c_ulong = 0x5437;
        let name = ptsname(&self.keyboard, Vec::new()).unwrap();
        let line = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        // SAFETY: the descriptor is open for the whole call, which takes no argument.
        let code = unsafe { libc::ioctl(line.unwrap().as_raw_fd(), HANG_UP as _) };
        assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    }

    /// What has been shown until now, with plain line ends.
    #[must_use]
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).replace("\r\n", "\n")
    }

    /// Waits until it shows `text`.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let shown = within(DEADLINE, || self.screen().contains(text).then_some(()));
        assert!(shown.is_some(), "it does not show {text:?} but {:?}", self.screen());
    }

    /// Waits for the end of the session's leader, and gives its exit code and signal. The screen is then
    /// complete.
    ///
    /// # Panics
    ///
    /// If that takes too long, or if somebody stays on the terminal.
    #[track_caller]
    pub fn finish(&mut self) -> (Option<i32>, Option<i32>) {
        let status = within(DEADLINE, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("no end; it shows {:?}", self.screen()));
        // What was written last may be unread when the leader is dead.
        let complete = within(DEADLINE, || self.reader.is_finished().then_some(()));
        assert!(complete.is_some(), "somebody is still there; it shows {:?}", self.screen());
        (status.code(), status.signal())
    }
}
