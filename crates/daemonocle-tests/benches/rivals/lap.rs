//! One life of a daemon, and one that never comes to be.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use daemonocle_tests::is_alive;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, wait, waitpid,
};

use crate::Result;
use crate::bell::Bell;
use crate::rival::{PID_FILE, Rival};

/// How long the worker that is slow takes until it serves.
pub const SETUP: Duration = Duration::from_millis(100);

/// After so long one that fails has failed.
const UNTIL_FAILURE: Duration = Duration::from_millis(20);

/// Why, in the worker's words.
const WHY: &str = "the database is not there";

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a rival's daemon lives.
pub struct Place {
    pub bell: Bell,
    pid_file: PathBuf,
    words: PathBuf,
}

/// When the command returned, and when what it was for was so.
#[derive(Clone, Copy)]
pub struct Span {
    pub returned: Duration,
    pub done: Duration,
}

impl Span {
    /// Whether the command returned before.
    pub fn is_early(self) -> bool {
        self.returned < self.done
    }
}

pub struct Failure {
    pub time: Duration,
    pub is_noticed: bool,
    pub is_explained: bool,
}

pub struct Lap {
    pub start: Span,
    pub slow_start: Span,
    pub stop: Span,
    pub restart: Option<Span>,
    pub status: Option<Duration>,
    pub check: Option<Duration>,
    pub failure: Failure,
}

impl Place {
    pub fn new(dir: &Path, rival: &Rival) -> Result<Self> {
        let dir = dir.join(rival.name.replace(' ', "-"));
        fs::create_dir(&dir)?;
        let (pid_file, words) = (dir.join("job.pid"), dir.join("words"));
        Ok(Self { bell: Bell::new(&dir)?, pid_file, words })
    }

    /// Runs a command for a daemon like this, to its end: when it began, how it ended, and how long that took.
    fn run(
        &self,
        words: &[String],
        job: &[(&str, String)],
    ) -> Result<(SystemTime, ExitStatus, Duration)> {
        let path = self.pid_file.display().to_string();
        let words = words.iter().map(|word| if word == PID_FILE { &path } else { word });
        let words: Vec<_> = words.collect();
        let [program, arguments @ ..] = &words[..] else { return Err("no command".into()) };
        // No pipe: a daemon that keeps it would keep us waiting.
        let said = File::create(&self.words)?;
        let mut command = Command::new(program);
        command.args(arguments).envs(job.iter().map(|(name, value)| (*name, value)));
        command.env("JOB_BELL", &self.bell.path).env("JOB_PID_FILE", &self.pid_file);
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let (begin, clock) = (SystemTime::now(), Instant::now());
        let status = command.status().map_err(|error| format!("{program}: {error}"))?;
        Ok((begin, status, clock.elapsed()))
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.words).unwrap_or_default()
    }

    /// Starts it, or starts it once more, and waits until it serves.
    fn serve(&self, words: &[String], job: &[(&str, String)]) -> Result<(Span, OwnedFd)> {
        let (begin, status, returned) = self.run(words, job)?;
        if !status.success() {
            return Err(format!("{words:?}: {status}: {}", self.said()).into());
        }
        let (pid, served) = self.bell.next()?;
        let done = served.duration_since(begin)?;
        let daemon = pidfd_open(pid, PidfdFlags::empty())?;
        let mourned = daemon.try_clone()?;
        // As an init would, as soon as it is dead: some take one that is not buried for alive.
        thread::spawn(move || {
            if ends(&mourned, Duration::from_secs(3600)).is_ok_and(|is_dead| is_dead) {
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
        });
        Ok((Span { returned, done }, daemon))
    }

    pub fn start(&self, rival: &Rival) -> Result<(Span, OwnedFd)> {
        self.serve(&rival.start, &[])
    }

    /// Stops it, and waits until it is gone.
    pub fn stop(&self, rival: &Rival, daemon: &OwnedFd) -> Result<Span> {
        let begin = Instant::now();
        let (_, status, returned) = self.run(&rival.stop, &[])?;
        let is_gone = ends(daemon, Duration::ZERO)?;
        if !is_gone && !ends(daemon, PATIENCE)? {
            let _ = pidfd_send_signal(daemon, Signal::KILL);
            return Err(format!("it does not stop: {status}: {}", self.said()).into());
        }
        let done = if is_gone { returned } else { begin.elapsed() };
        self.clean_up()?;
        match status.success() {
            true => Ok(Span { returned, done }),
            false => Err(format!("{:?}: {status}: {}", rival.stop, self.said()).into()),
        }
    }

    /// Starts one that fails.
    fn fail(&self, rival: &Rival) -> Result<Failure> {
        let setup = UNTIL_FAILURE.as_millis().to_string();
        let job = [("JOB_SETUP", setup), ("JOB_FAIL", "yes".to_owned())];
        let (_, status, time) = self.run(&rival.start, &job)?;
        self.clean_up()?;
        let is_explained = self.said().contains(WHY);
        Ok(Failure { time, is_noticed: !status.success(), is_explained })
    }

    /// Buries all that were orphaned, and removes what they have left.
    fn clean_up(&self) -> Result {
        bury_all()?;
        let _ = fs::remove_file(&self.pid_file);
        Ok(())
    }
}

/// Waits for the end of all children of this process, those that were orphaned among them.
pub fn bury_all() -> Result {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Err("processes are left behind".into())
}

impl Lap {
    pub fn run(rival: &Rival, place: &Place) -> Result<Self> {
        let (start, mut daemon) = place.start(rival)?;
        let ask = |words: &Vec<String>| -> Result<Duration> {
            let (_, end, time) = place.run(words, &[])?;
            match end.success() {
                true => Ok(time),
                false => Err(format!("{words:?}: {end}: {}", place.said()).into()),
            }
        };
        let status = rival.status.as_ref().map(ask).transpose()?;
        let check = rival.check.as_ref().map(ask).transpose()?;
        let mut restart = None;
        if let Some(words) = &rival.restart {
            let (span, successor) = place.serve(words, &[])?;
            if !ends(&daemon, PATIENCE)? {
                return Err("the old daemon does not end".into());
            }
            (restart, daemon) = (Some(span), successor);
        }
        let stop = place.stop(rival, &daemon)?;
        let setup = [("JOB_SETUP", SETUP.as_millis().to_string())];
        let (slow_start, daemon) = place.serve(&rival.start, &setup)?;
        place.stop(rival, &daemon)?;
        Ok(Self { start, slow_start, stop, restart, status, check, failure: place.fail(rival)? })
    }
}

/// Whether it ends within this time.
fn ends(daemon: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(daemon, PollFlags::IN)];
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    Ok(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit)))? == 1)
}

/// The living children of this process, and theirs.
pub fn descendants() -> Vec<Pid> {
    let mut found = vec![rustix::process::getpid()];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let path = format!("/proc/{0}/task/{0}/children", parent.as_raw_nonzero());
        let children = fs::read_to_string(path).unwrap_or_default();
        found
            .extend(children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
        next += 1;
    }
    found.split_off(1).into_iter().filter(|pid| is_alive(pid.as_raw_nonzero().get())).collect()
}
