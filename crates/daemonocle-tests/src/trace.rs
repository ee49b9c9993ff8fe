//! What system calls a process makes, seen by strace(1).

use rustix::process::Signal;

use crate::fixture::Fixture;
use crate::privilege::{skip, skip_unless_there_is};
use crate::process::{Pid, status_field};
use crate::run::Running;
use crate::sandbox::Sandbox;
use crate::wait::eventually;

/// What strace has seen in three seconds.
#[derive(Debug)]
pub struct Calls {
    /// The calls that were made. Not what the threads were waiting in when strace came, and still
    /// are when it goes.
    pub made: Vec<String>,
    /// How many threads it has seen, at least.
    pub threads: usize,
}

impl Calls {
    /// Those of these processes and all their threads; `None`: the calling test has to be skipped,
    /// which has been said.
    #[must_use]
    pub fn of(pids: &[Pid], fixture: &Fixture<'_>, name: &str) -> Option<Self> {
        if skip_unless_there_is("strace", name) || skip_unless_there_is("timeout", name) {
            return None;
        }
        let log = fixture.sandbox().path("calls");
        let mut words: Vec<_> = ["timeout", "3", "strace", "-f", "-o"].map(String::from).into();
        words.push(log.display().to_string());
        for pid in pids {
            words.extend(["-p".to_owned(), pid.to_string()]);
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let watch = fixture.watch(&words).finish();
        if !watch.stderr.contains("attached") {
            skip(name, &format!("strace cannot attach: {}", watch.stderr.trim()));
            return None;
        }
        let text = fixture.sandbox().read("calls");
        let is_made =
            |line: &&str| !line.ends_with("<unfinished ...>") && !line.ends_with("<detached ...>");
        let made = text.lines().filter(is_made).map(str::to_owned).collect();
        Some(Self { made, threads: text.lines().count() })
    }
}

/// Has strace look at a process, with these options, until that is gone or strace is ended: its calls are in the
/// file `calls`. Where another process makes a call meanwhile, a line is cut in two. `None`: the calling test has to be
/// skipped, which has been said.
#[must_use]
#[track_caller]
pub fn attach(fixture: &Fixture<'_>, pid: Pid, options: &[&str], name: &str) -> Option<Running> {
    if skip_unless_there_is("strace", name) {
        return None;
    }
    let (pid, log) = (pid.to_string(), fixture.sandbox().path("calls").display().to_string());
    let words = [&["strace", "-p", &pid, "-o", &log], options].concat();
    let strace = fixture.watch(&words).spawn();
    eventually("strace is there", || strace.stderr().contains("strace: "));
    if !strace.stderr().contains(" attached") {
        skip(name, &format!("strace cannot attach: {}", strace.stderr().trim()));
        return None;
    }
    Some(strace)
}

/// Ends the strace that looks at this process, if it does so from the side (`-D`): it goes on at its own speed.
///
/// # Panics
///
/// If it cannot be ended.
#[track_caller]
pub fn detach(running: &Running, sandbox: &Sandbox) {
    let tracer =
        || status_field(running.pid(), "TracerPid").parse::<Pid>().ok().filter(|&pid| pid != 0);
    if let Some(strace) = tracer() {
        sandbox.signal(strace, Signal::TERM);
        eventually("strace is gone", || tracer().is_none());
    }
}
