//! How the cost grows: with the number of workers, of processes in a group, and of processes on the machine.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::Result;
use crate::bell::Bell;
use crate::build::{Built, succeed};
use crate::figures::{Spread, milliseconds};
use crate::lap::{bury_all, descendants};
use crate::rival::{installed, python};

/// How many workers, and how often that is tried.
const WORKERS: [(usize, usize); 4] = [(1, 30), (10, 20), (100, 10), (1000, 5)];

/// How many processes in a group, and others on the machine.
const CROWDS: [(usize, usize); 5] = [(1, 0), (10, 0), (100, 0), (1000, 0), (1, 10_000)];

const ROUNDS_OF_CROWD: usize = 10;

/// How one thing grows.
pub struct Line {
    pub name: &'static str,
    /// How many, and the milliseconds for that.
    pub points: Vec<(usize, Spread)>,
}

pub struct Growth {
    pub start: Vec<Line>,
    pub stop: Vec<Line>,
    /// In groups of this size, and the last point among many others: see `CROWDS`.
    pub status: Vec<Line>,
    pub others: Vec<(&'static str, Spread, Spread)>,
}

impl Line {
    /// The power of the number that the time grows with, from the first of these on.
    pub fn exponent(&self, from: usize) -> f64 {
        let points: Vec<_> = self.points.iter().filter(|(count, _)| *count >= from).collect();
        let logarithms =
            points.iter().map(|(count, time)| ((*count as f64).ln(), time.middle.ln()));
        let logarithms: Vec<_> = logarithms.collect();
        let count = logarithms.len() as f64;
        let x = logarithms.iter().map(|(x, _)| x).sum::<f64>() / count;
        let y = logarithms.iter().map(|(_, y)| y).sum::<f64>() / count;
        let above: f64 = logarithms.iter().map(|(its, time)| (its - x) * (time - y)).sum();
        above / logarithms.iter().map(|(its, _)| (its - x).powi(2)).sum::<f64>()
    }
}

impl Growth {
    pub fn of(built: &Built, dir: &Path) -> Result<Self> {
        let dir = dir.join("growth");
        fs::create_dir(&dir)?;
        let mut crews = vec![Crew::Forks(built.forks.clone()), Crew::Ours(dir.join("ours"))];
        let programs = (installed("runsvdir"), installed("supervisord"));
        crews.extend(programs.0.map(|program| Crew::Runit(program, dir.join("runit"))));
        crews.extend(programs.1.map(|program| Crew::Supervisor(program, dir.join("supervisor"))));
        let line = |crew: &Crew| Line { name: crew.name(), points: Vec::new() };
        let mut start: Vec<_> = crews.iter().map(line).collect();
        let mut stop: Vec<_> = crews.iter().map(line).collect();
        let bell = Bell::new(&dir)?;
        for (count, rounds) in WORKERS {
            eprintln!("{count} workers");
            let mut laps = vec![(Vec::new(), Vec::new()); crews.len()];
            for crew in &crews {
                crew.prepare(count, &built.job, &bell)?;
            }
            for round in 0..=rounds {
                for turn in 0..crews.len() {
                    let which = (round + turn) % crews.len();
                    let said = |error| format!("{} {}: {error}", count, crews[which].name());
                    let (started, stopped) = crews[which].run(count, &bell).map_err(said)?;
                    // The first one warms up.
                    if round > 0 {
                        laps[which].0.push(milliseconds(started));
                        laps[which].1.push(milliseconds(stopped));
                    }
                }
            }
            for (which, (started, stopped)) in laps.into_iter().enumerate() {
                start[which].points.extend(Spread::of(started).map(|spread| (count, spread)));
                stop[which].points.extend(Spread::of(stopped).map(|spread| (count, spread)));
            }
        }
        let (status, others) = status(built, &dir)?;
        Ok(Self { start, stop, status, others })
    }
}

/// Somebody who keeps many workers.
enum Crew {
    Forks(PathBuf),
    Ours(PathBuf),
    Runit(PathBuf, PathBuf),
    Supervisor(PathBuf, PathBuf),
}

impl Crew {
    const fn name(&self) -> &'static str {
        match self {
            Self::Forks(_) => "bare forks in C",
            Self::Ours(_) => "daemonocle",
            Self::Runit(..) => "runit",
            Self::Supervisor(..) => "supervisord",
        }
    }

    /// Makes what it needs to know about so many workers.
    fn prepare(&self, count: usize, job: &Path, bell: &Bell) -> Result {
        let (job, bell) = (job.display(), bell.path.display());
        match self {
            Self::Forks(_) => {}
            Self::Ours(dir) => fs::create_dir_all(dir)?,
            Self::Runit(_, dir) => {
                for number in 0..count {
                    let service = dir.join(number.to_string());
                    fs::create_dir_all(&service)?;
                    let run = service.join("run");
                    fs::write(&run, format!("#!/bin/sh\nexec {job}\n"))?;
                    fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
                }
            }
            Self::Supervisor(_, dir) => {
                fs::create_dir_all(dir)?;
                let mut conf = fs::File::create(dir.join("conf"))?;
                writeln!(
                    conf,
                    "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\n\
                     pidfile={}/pid\n\n[program:job]\ncommand={job}\nnumprocs={count}\n\
                     process_name=%(process_num)d\nstdout_logfile=NONE\nstderr_logfile=NONE\n\
                     environment=JOB_BELL=\"{bell}\"",
                    dir.display(),
                )?;
            }
        }
        Ok(())
    }

    /// All are started, until all serve, and stopped, until all are gone.
    fn run(&self, count: usize, bell: &Bell) -> Result<(Duration, Duration)> {
        let begin = Instant::now();
        match self {
            Self::Forks(program) => {
                let pids = succeed(Command::new(program).arg(count.to_string()))?;
                let (started, begin) = (begin.elapsed(), Instant::now());
                for line in pids.lines() {
                    kill_process(Pid::from_raw(line.parse()?).ok_or("no PID")?, Signal::KILL)?;
                }
                bury_all()?;
                Ok((started, begin.elapsed()))
            }
            Self::Ours(dir) => {
                let command = |action| {
                    let mut command = Command::new(env!("CARGO_BIN_EXE_crew"));
                    command.arg(action).env("CREW", count.to_string()).env("CREW_DIR", dir);
                    command
                };
                succeed(&mut command("start"))?;
                let (started, begin) = (begin.elapsed(), Instant::now());
                succeed(&mut command("stop"))?;
                let stopped = begin.elapsed();
                bury_all()?;
                Ok((started, stopped))
            }
            Self::Runit(program, dir) => {
                let mut command = Command::new(program);
                command.arg("-P").arg(dir);
                keep(command, Signal::HUP, count, bell)
            }
            Self::Supervisor(program, dir) => {
                let mut command = Command::new(program);
                command.arg("--configuration").arg(dir.join("conf"));
                keep(command, Signal::TERM, count, bell)
            }
        }
    }
}

/// One who runs as long as its workers, and ends them when this signal comes.
fn keep(
    mut command: Command,
    end: Signal,
    count: usize,
    bell: &Bell,
) -> Result<(Duration, Duration)> {
    let begin = Instant::now();
    command.env("JOB_BELL", &bell.path);
    let mut keeper =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let served: Result<()> = (0..count).try_for_each(|_| bell.next().map(drop));
    let (started, begin) = (begin.elapsed(), Instant::now());
    kill_process(pid(&keeper)?, end)?;
    keeper.wait()?;
    bury_all()?;
    served.map(|()| (started, begin.elapsed()))
}

fn pid(child: &Child) -> Result<Pid> {
    Pid::from_raw(child.id().try_into()?).ok_or_else(|| "no PID".into())
}

type Statuses = (Vec<Line>, Vec<(&'static str, Spread, Spread)>);

/// How long it takes to ask for a daemon with so many processes, and one among so many others.
fn status(built: &Built, dir: &Path) -> Result<Statuses> {
    const NAMES: [&str; 3] = ["daemonocle, with %cpu", "daemonocle, without", "ps"];
    let python = python().map(|(python, _)| python);
    let names: Vec<_> =
        NAMES.into_iter().chain(python.as_ref().map(|_| "Python daemonocle, with %cpu")).collect();
    let mut lines: Vec<_> = names.iter().map(|name| Line { name, points: Vec::new() }).collect();
    let mut alone_and_among = vec![Vec::new(); names.len()];
    for (size, others) in CROWDS {
        eprintln!("a group of {size} processes among {others} others");
        let crowd = Crowd::new(dir, size)?;
        let mut forked = None;
        if others > 0 {
            forked = Some(succeed(Command::new(&built.forks).arg(others.to_string()))?);
        }
        let mut laps = vec![Vec::new(); names.len()];
        for round in 0..=ROUNDS_OF_CROWD {
            for turn in 0..names.len() {
                let which = (round + turn) % names.len();
                let mut command = match which {
                    0 => crowd.ours(&["status", "--json"]),
                    1 => crowd.ours(&["status", "--json", "--fields", "pid,status,uptime"]),
                    2 => {
                        let mut ps = Command::new("ps");
                        ps.args([
                            "-o",
                            "pid,stat,etime",
                            "-p",
                            &crowd.pid.as_raw_nonzero().to_string(),
                        ]);
                        ps
                    }
                    _ => crowd.original(python.as_deref().unwrap_or_default()),
                };
                let begin = Instant::now();
                succeed(&mut command)?;
                if round > 0 {
                    laps[which].push(milliseconds(begin.elapsed()));
                }
            }
        }
        for line in forked.iter().flat_map(|pids| pids.lines()) {
            let pid = Pid::from_raw(line.parse()?).ok_or("no PID")?;
            kill_process(pid, Signal::KILL)?;
            waitpid(Some(pid), WaitOptions::empty())?;
        }
        drop(crowd);
        for (which, laps) in laps.into_iter().enumerate() {
            let Some(spread) = Spread::of(laps) else { continue };
            if others == 0 {
                lines[which].points.push((size, spread));
            }
            if size == 1 {
                alone_and_among[which].push(spread);
            }
        }
    }
    let others =
        names.iter().zip(alone_and_among).filter_map(|(name, spreads)| match spreads[..] {
            [alone, among] => Some((*name, alone, among)),
            _ => None,
        });
    Ok((lines, others.collect()))
}

/// A daemon with a group of so many processes, until it is dropped.
struct Crowd {
    pid_file: PathBuf,
    size: usize,
    pid: Pid,
}

impl Crowd {
    fn new(dir: &Path, size: usize) -> Result<Self> {
        let pid_file = dir.join("crowd.pid");
        let mut crowd = Self { pid_file, size, pid: rustix::process::getpid() };
        succeed(&mut crowd.ours(&["start"]))?;
        let text = fs::read_to_string(&crowd.pid_file)?;
        crowd.pid = Pid::from_raw(text.trim().parse()?).ok_or("no PID in the PID file")?;
        Ok(crowd)
    }

    fn ours(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fixture"));
        command.args(arguments).env("FIXTURE_WORKER", "crowd").env("FIXTURE_READY", "60");
        command.env("FIXTURE_CROWD", (self.size - 1).to_string());
        command.env("FIXTURE_PID_FILE", &self.pid_file);
        command
    }

    /// The original's status of the same process, which it finds by a PID file.
    fn original(&self, python: &str) -> Command {
        const SCRIPT: &str = "import daemonocle, sys
daemonocle.Daemon(name='crowd', worker=print, pid_file=sys.argv[1]).do_action('status', json=True)";
        let copy = self.pid_file.with_extension("copy");
        let _ = fs::write(&copy, format!("{}\n", self.pid.as_raw_nonzero()));
        let mut command = Command::new(python);
        command.args(["-c", SCRIPT]).arg(copy).current_dir("/");
        command
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = succeed(&mut self.ours(&["stop", "--force"]));
        // What it leaves is ours.
        let left = descendants();
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = bury_all();
    }
}
