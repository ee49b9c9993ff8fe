//! How fast: `start` and `stop` of many workers, whole process to whole process, against as many bare
//! forks by a program in C, and against the slowest of the workers.
//!
//! ```console
//! $ cargo bench -p daemonocle-tests --bench multi                # 20 rounds, 100 workers
//! $ cargo bench -p daemonocle-tests --bench multi -- 5 1000      # 5 rounds, 1000 workers
//! ```
//!
//! Needs a C compiler (`cc`, or `$CC`). The programs take turns, so that whatever else the machine does
//! meets both alike. The ratio is taken round by round; shown are its median and its 10th and 90th
//! percentile.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const WARM_UP: usize = 2;

/// What a start may cost, in times of what the forks cost.
const GOAL: f64 = 3.0;

/// How long the slowest worker takes for its end.
const SLOWEST: Duration = Duration::from_millis(500);

/// What a stop may take beyond that, in times of it.
const GOAL_OF_STOP: f64 = 1.5;

fn main() -> Result {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let (rounds, count) = (numbers.next().unwrap_or(20), numbers.next().unwrap_or(100));
    let dir = tempfile::tempdir()?;
    // All become our children when their starters are gone, and we bury them.
    set_child_subreaper(Some(getpid()))?;
    let crew = Crew { dir: dir.path().join("crew"), count };
    let forks = compile(dir.path())?;
    fs::create_dir(&crew.dir)?;
    let mut laps = Vec::new();
    for round in 0..WARM_UP + rounds {
        let mut forked = Duration::ZERO;
        if round % 2 == 0 {
            forked = fork(&forks, count)?;
        }
        let start = crew.time("start", Duration::ZERO)?;
        let stop = crew.end(Duration::ZERO)?;
        if round % 2 == 1 {
            forked = fork(&forks, count)?;
        }
        crew.time("start", SLOWEST)?;
        let slow = crew.end(SLOWEST)?;
        if round >= WARM_UP {
            laps.push([forked, start, stop, slow].map(|time| time.as_secs_f64() * 1e3));
        }
    }
    report(count, &laps);
    Ok(())
}

struct Crew {
    dir: PathBuf,
    count: usize,
}

impl Crew {
    fn time(&self, action: &str, slow: Duration) -> Result<Duration> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crew"));
        command.arg(action).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("CREW", self.count.to_string()).env("CREW_DIR", &self.dir);
        command.env("CREW_SLOW", slow.as_millis().to_string());
        let begin = Instant::now();
        let status = command.status()?;
        let time = begin.elapsed();
        if !status.success() {
            // Those that have started all the same must not stay.
            let mut stop = Command::new(env!("CARGO_BIN_EXE_crew"));
            stop.args(["stop", "--timeout", "1", "--force"])
                .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let _ = stop.status();
            return Err(format!("{action}: {status}").into());
        }
        Ok(time)
    }

    /// Stops all workers, and buries them.
    fn end(&self, slow: Duration) -> Result<Duration> {
        let pids: Result<Vec<Pid>> = (0..self.count).map(|id| self.pid(id)).collect();
        let (pids, stop) = (pids?, self.time("stop", slow));
        for pid in pids {
            if stop.is_err() {
                // Our own child, not yet buried.
                kill_process(pid, Signal::KILL)?;
            }
            waitpid(Some(pid), WaitOptions::empty())?;
        }
        match fs::read_dir(&self.dir)?.next() {
            Some(_) => Err("there are PID files left".into()),
            None => stop,
        }
    }

    fn pid(&self, id: usize) -> Result<Pid> {
        let text = fs::read_to_string(self.dir.join(format!("{id}.pid")))?;
        Pid::from_raw(text.trim().parse()?).ok_or_else(|| "no PID in the PID file".into())
    }
}

/// Runs the program in C, and buries its children.
fn fork(program: &Path, count: usize) -> Result<Duration> {
    let begin = Instant::now();
    let output = Command::new(program).arg(count.to_string()).stdin(Stdio::null()).output()?;
    let time = begin.elapsed();
    for line in String::from_utf8(output.stdout)?.lines() {
        let pid = Pid::from_raw(line.parse()?).ok_or("no PID")?;
        kill_process(pid, Signal::KILL)?;
        waitpid(Some(pid), WaitOptions::empty())?;
    }
    match output.status.success() {
        true => Ok(time),
        false => Err(format!("forks: {}", output.status).into()),
    }
}

fn compile(dir: &Path) -> Result<PathBuf> {
    let program = dir.join("forks");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/forks.c");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(&compiler)
        .args(["-O2", "-s", "-Wall", "-o"])
        .args([program.as_os_str(), source.as_os_str()])
        .status()
        .map_err(|error| format!("cannot run the C compiler {compiler:?}: {error}"))?;
    if status.success() { Ok(program) } else { Err("the C program does not compile".into()) }
}

fn report(count: usize, laps: &[[f64; 4]]) {
    let slowest = SLOWEST.as_secs_f64() * 1e3;
    let column = |which: usize| -> Vec<f64> { laps.iter().map(|lap| lap[which]).collect() };
    let times = [0, 1, 2, 3].map(|which| percentile(&column(which), 50));
    println!("{count} workers, {} rounds, medians in milliseconds", laps.len());
    println!("bare forks in C                {:8.1}", times[0]);
    println!("start                          {:8.1}", times[1]);
    println!("stop                           {:8.1}", times[2]);
    println!("stop, the slowest takes {slowest:5.0}  {:8.1}", times[3]);
    let of_start: Vec<f64> = laps.iter().map(|[forked, start, ..]| start / forked).collect();
    let of_stop: Vec<f64> = laps.iter().map(|[.., slow]| slow / slowest).collect();
    for (what, ratios, goal) in [
        ("start / bare forks", of_start, GOAL),
        ("stop / its slowest worker", of_stop, GOAL_OF_STOP),
    ] {
        let [low, ratio, high] = [10, 50, 90].map(|percent| percentile(&ratios, percent));
        let verdict = if ratio <= goal { "" } else { "  over the goal" };
        println!("{what:25}  {ratio:.2} ({low:.2}..{high:.2}), goal {goal}{verdict}");
    }
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN)
}
