//! A run of a command in which one system call of one thread fails, or its process is killed there, or
//! held: ptrace(2).

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use daemonocle_tests::{Run, Sandbox};

use crate::possible::is_possible;
use crate::sys::{self, Tid, next_event, registers, set_registers, trace};

/// What happens at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails like this. A close(2) is made all the same, as by the kernel.
    Error(i32),
    /// The process dies there.
    Kill,
    /// The thread is held there for a while.
    Hold,
}

/// One call: of which thread, in the order in which they appeared, and its place among that thread's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) thread: usize,
    pub(crate) place: usize,
}

/// A call that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) point: Point,
    pub(crate) number: i64,
}

/// What to run.
pub(crate) struct Job<'a> {
    pub(crate) run: &'a Run,
    /// Where the files `stdout` and `stderr` are to be.
    pub(crate) sandbox: &'a Sandbox,
    /// Processes that are running already, to be looked at as well.
    pub(crate) also: Vec<Tid>,
    pub(crate) plan: Option<(Call, Fault)>,
    /// What the command is sent, one after the other, each when nothing happens any more.
    pub(crate) signals: &'a [c_int],
}

/// What was seen.
pub(crate) struct Outcome {
    /// In the order in which they were made.
    pub(crate) calls: Vec<Call>,
    /// The first thread of the command.
    pub(crate) command: usize,
    /// How the command has ended; `None`: it has not, in time.
    pub(crate) status: Option<ExitStatus>,
    /// What the fault met.
    pub(crate) met: Option<Call>,
    /// Whether it was in the command itself, and not in something that it has made or met.
    pub(crate) met_command: bool,
}

/// Nothing has happened for this long, and nobody is at work: everybody waits.
const QUIET: Duration = Duration::from_millis(30);
/// How long a thread is held.
const HELD: Duration = Duration::from_millis(150);
/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(20);

const OPTIONS: c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

/// A thread that is looked at.
struct Thread {
    index: usize,
    /// How many calls it has made.
    made: usize,
    /// Whether the next stop is that of a call's end.
    is_inside: bool,
    /// What the call that it is in is to come to.
    result: Option<i32>,
    held_until: Option<Instant>,
}

struct Tracer<'a> {
    job: &'a Job<'a>,
    threads: BTreeMap<Tid, Thread>,
    count: usize,
    command: Tid,
    outcome: Outcome,
}

pub(crate) fn run(job: &Job<'_>) -> io::Result<Outcome> {
    let outcome =
        Outcome { calls: Vec::new(), command: 0, status: None, met: None, met_command: false };
    let mut tracer = Tracer { job, threads: BTreeMap::new(), count: 0, command: 0, outcome };
    for pid in &job.also {
        tracer.join(*pid)?;
    }
    tracer.begin()?;
    let result = tracer.watch();
    tracer.leave();
    result?;
    Ok(tracer.outcome)
}

impl Tracer<'_> {
    /// Looks at a process that is running already.
    fn join(&mut self, pid: Tid) -> io::Result<()> {
        let mut tids: Vec<Tid> = fs::read_dir(format!("/proc/{pid}/task"))?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        tids.sort_unstable();
        for tid in tids {
            trace(libc::PTRACE_SEIZE, tid, OPTIONS.into())?;
            trace(libc::PTRACE_INTERRUPT, tid, 0)?;
            self.add(tid);
        }
        Ok(())
    }

    fn add(&mut self, tid: Tid) {
        let index = self.count;
        self.count += 1;
        let thread = Thread { index, made: 0, is_inside: false, result: None, held_until: None };
        self.threads.insert(tid, thread);
    }

    /// Runs the command, from its first call as a program of its own on.
    fn begin(&mut self) -> io::Result<()> {
        let Job { run, sandbox, .. } = self.job;
        let streams = ["stdout", "stderr"].map(|name| sandbox.path(name));
        let [stdout, stderr] = &streams;
        let pid = sys::spawn_stopped(run.words(), run.environment(), [stdout, stderr])?;
        self.command = pid;
        trace(libc::PTRACE_SEIZE, pid, OPTIONS.into())?;
        sys::kill(pid, libc::SIGCONT)?;
        trace(libc::PTRACE_INTERRUPT, pid, 0)?;
        self.outcome.command = self.count;
        self.add(pid);
        Ok(())
    }

    fn watch(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let mut signals = self.job.signals.iter();
        let mut last = Instant::now();
        while begun.elapsed() < LIMIT {
            self.release_held()?;
            match next_event(Duration::from_millis(5))? {
                Some((tid, status)) => {
                    last = Instant::now();
                    self.on_event(tid, status)?;
                }
                None if last.elapsed() < QUIET || self.is_anybody_at_work() => {}
                None if self.outcome.status.is_some() => return Ok(()),
                None => {
                    if let Some(signal) = signals.next() {
                        // It has not been waited for yet.
                        sys::kill(self.command, *signal)?;
                        last = Instant::now();
                    }
                }
            }
        }
        Ok(())
    }

    /// Also one who waits for a processor, or is held.
    fn is_anybody_at_work(&self) -> bool {
        let is_running = |tid: &Tid| {
            let stat = fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
            // Behind the name, which may have anything in it.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['R', 'D']))
        };
        let is_at_work =
            |(tid, thread): (&Tid, &Thread)| thread.held_until.is_some() || is_running(tid);
        self.threads.iter().any(is_at_work)
    }

    fn release_held(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for (tid, thread) in &mut self.threads {
            if thread.held_until.is_some_and(|until| until <= now) {
                thread.held_until = None;
                resume(*tid, 0);
            }
        }
        Ok(())
    }

    fn on_event(&mut self, tid: Tid, status: c_int) -> io::Result<()> {
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            self.threads.remove(&tid);
            if tid == self.command {
                self.outcome.status = Some(ExitStatus::from_raw(status));
            }
            return Ok(());
        }
        if !self.threads.contains_key(&tid) {
            // The child of one that is looked at, by whom it has not been told of yet.
            self.add(tid);
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        match (signal, event) {
            (_, 0) if signal == libc::SIGTRAP | 0x80 => self.on_call(tid)?,
            (_, libc::PTRACE_EVENT_STOP)
                if [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]
                    .contains(&signal) =>
            {
                // It is stopped as anybody else, and goes on when it is told to.
                let _ = trace(libc::PTRACE_LISTEN, tid, 0);
            }
            (_, 0) => resume(tid, signal),
            _ => resume(tid, 0),
        }
        Ok(())
    }

    fn on_call(&mut self, tid: Tid) -> io::Result<()> {
        let Ok(mut registers) = registers(tid) else {
            // Killed just now.
            return Ok(());
        };
        let command = self.command;
        let Some(thread) = self.threads.get_mut(&tid) else {
            return Ok(());
        };
        // The end of a call that was begun before anybody looked shows as its first stop.
        let is_end = thread.is_inside
            || (thread.made == 0 && registers.rax != (-libc::ENOSYS as i64).cast_unsigned());
        if is_end {
            thread.is_inside = false;
            if let Some(error) = thread.result.take() {
                registers.rax = i64::from(-error).cast_unsigned();
                let _ = set_registers(tid, &registers);
            }
            resume(tid, 0);
            return Ok(());
        }
        thread.is_inside = true;
        let point = Point { thread: thread.index, place: thread.made };
        thread.made += 1;
        let call = Call { point, number: registers.orig_rax.cast_signed() };
        self.outcome.calls.push(call);
        match self.job.plan {
            // Another one is in its place where the order is not always the same, and fails otherwise.
            Some((wanted, fault)) if wanted == call && is_possible(tid, &registers, fault) => {
                self.outcome.met = Some(call);
                self.outcome.met_command = group_of(tid) == Some(command);
                match fault {
                    Fault::Error(error) => {
                        thread.result = Some(error);
                        if call.number != libc::SYS_close {
                            registers.orig_rax = u64::MAX;
                            let _ = set_registers(tid, &registers);
                        }
                        resume(tid, 0);
                    }
                    Fault::Kill => {
                        if let Some(group) = group_of(tid) {
                            // It is being looked at, and so has not been buried.
                            let _ = sys::kill(group, libc::SIGKILL);
                        }
                    }
                    Fault::Hold => thread.held_until = Some(Instant::now() + HELD),
                }
            }
            _ => resume(tid, 0),
        }
        Ok(())
    }

    /// Lets everybody go on unobserved.
    fn leave(&mut self) {
        if self.outcome.status.is_none() {
            // It has not been waited for yet.
            let _ = sys::kill(self.command, libc::SIGKILL);
        }
        let begun = Instant::now();
        for tid in self.threads.keys() {
            let _ = trace(libc::PTRACE_INTERRUPT, *tid, 0);
        }
        while !self.threads.is_empty() && begun.elapsed() < LIMIT {
            match next_event(Duration::from_millis(20)) {
                Ok(Some((tid, status))) => {
                    self.threads.remove(&tid);
                    let_go(tid, status);
                }
                Ok(None) => {
                    // One that was held is stopped already.
                    self.threads.retain(|tid, _| trace(libc::PTRACE_DETACH, *tid, 0).is_err());
                }
                Err(_) => return,
            }
        }
        // Who was made by one of them in the last moment is looked at as well, and stopped.
        while begun.elapsed() < LIMIT {
            let left = traced();
            if left.is_empty() {
                return;
            }
            for tid in left {
                let _ = trace(libc::PTRACE_INTERRUPT, tid, 0);
                let _ = trace(libc::PTRACE_DETACH, tid, 0);
            }
            while let Ok(Some((tid, status))) = next_event(Duration::from_millis(5)) {
                let_go(tid, status);
            }
        }
    }
}

/// Looks at a thread no more that has just stopped.
fn let_go(tid: Tid, status: c_int) {
    if libc::WIFSTOPPED(status) {
        let is_signal = status >> 16 == 0 && libc::WSTOPSIG(status) & 0x80 == 0;
        let signal = if is_signal { libc::WSTOPSIG(status) } else { 0 };
        let _ = trace(libc::PTRACE_DETACH, tid, signal.into());
    }
}

/// All living threads that this process looks at.
fn traced() -> Vec<Tid> {
    let numbers = |path: String| -> Vec<Tid> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    let mark = format!("\nTracerPid:\t{}\n", std::process::id());
    let is_traced = |pid: &Tid, tid: &Tid| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status"));
        status.is_ok_and(|status| status.contains(&mark) && !status.contains("\nState:\tZ"))
    };
    let mut traced = Vec::new();
    for pid in numbers("/proc".to_owned()) {
        let tids = numbers(format!("/proc/{pid}/task"));
        traced.extend(tids.into_iter().filter(|tid| is_traced(&pid, tid)));
    }
    traced
}

/// The process that a thread belongs to.
fn group_of(tid: Tid) -> Option<Tid> {
    let text = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

fn resume(tid: Tid, signal: c_int) {
    // ESRCH: it has been killed meanwhile.
    let _ = trace(libc::PTRACE_SYSCALL, tid, signal.into());
}
