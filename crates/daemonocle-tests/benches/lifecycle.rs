//! How fast: `start` and `stop`, whole process to whole process, against a minimal program in C.
//!
//! ```console
//! $ cargo bench -p daemonocle-tests --bench lifecycle            # 300 rounds
//! $ cargo bench -p daemonocle-tests --bench lifecycle -- 1000
//! ```
//!
//! Needs a C compiler (`cc`, or `$CC`). In every round each program starts and stops a daemon once,
//! in another order each time, so that whatever else the machine does meets all of them alike. The
//! ratio is taken round by round; shown are its median and its 10th and 90th percentile.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const WARM_UP: usize = 20;

/// What `start` and `stop` may cost, in times of what they cost the C program.
const GOAL: f64 = 1.5;

fn main() -> Result {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(300);
    let dir = tempfile::tempdir()?;
    // The daemons become our children when their starters are gone, and we bury them: an init
    // that does so late, or never, would fill the machine with zombies.
    set_child_subreaper(Some(getpid()))?;
    let programs = [
        Program::new("C", &compile_baseline(dir.path())?, dir.path()),
        Program::new("command line", Path::new(env!("CARGO_BIN_EXE_instant")), dir.path()),
        Program::new("library alone", &build_library_example()?, dir.path()),
    ];
    let mut times = [const { Vec::new() }; 3];
    for round in 0..WARM_UP + rounds {
        for turn in 0..programs.len() {
            // Every order of three: rotated, and every other time backwards.
            let turn = if round % 2 == 0 { turn } else { programs.len() - 1 - turn };
            let which = (round / 2 + turn) % programs.len();
            let lap = programs[which].run_once()?;
            if round >= WARM_UP {
                times[which].push(lap);
            }
        }
    }
    report(&programs, &times);
    Ok(())
}

/// What one daemon's life has cost.
#[derive(Clone, Copy)]
struct Lap {
    start: Duration,
    stop: Duration,
}

struct Program {
    name: &'static str,
    file: PathBuf,
    home: PathBuf,
    pid_file: PathBuf,
    /// Whether it takes the PID file as an argument, as the one in C does.
    takes_path: bool,
}

impl Program {
    fn new(name: &'static str, file: &Path, dir: &Path) -> Self {
        let home = dir.join(name);
        let takes_path = name == "C";
        let pid_file = home.join("library.pid");
        Self { name, file: file.to_path_buf(), home, pid_file, takes_path }
    }

    fn run_once(&self) -> Result<Lap> {
        fs::create_dir_all(&self.home)?;
        let start = self.time("start")?;
        let text = fs::read_to_string(&self.pid_file)?;
        let daemon = Pid::from_raw(text.trim().parse()?).ok_or("no PID in the PID file")?;
        let stop = self.time("stop");
        if stop.is_err() {
            // Our own child, not yet buried.
            kill_process(daemon, Signal::KILL)?;
        }
        waitpid(Some(daemon), WaitOptions::empty())?;
        let stop = stop?;
        if self.pid_file.exists() {
            return Err(format!("{}: the PID file is still there", self.name).into());
        }
        Ok(Lap { start, stop })
    }

    fn time(&self, action: &str) -> Result<Duration> {
        let mut command = Command::new(&self.file);
        command.arg(action).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("TMPDIR", &self.home).env("INSTANT_PID_FILE", &self.pid_file);
        if self.takes_path {
            command.arg(&self.pid_file);
        }
        let begin = Instant::now();
        let status = command.status()?;
        let time = begin.elapsed();
        match status.success() {
            true => Ok(time),
            false => Err(format!("{}: {action}: {status}", self.name).into()),
        }
    }
}

fn compile_baseline(dir: &Path) -> Result<PathBuf> {
    let program = dir.join("baseline");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.c");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(&compiler)
        .args(["-O2", "-s", "-Wall", "-o"])
        .args([program.as_os_str(), source.as_os_str()])
        .status()
        .map_err(|error| format!("cannot run the C compiler {compiler:?}: {error}"))?;
    if status.success() { Ok(program) } else { Err("the C program does not compile".into()) }
}

/// The example `library`, built as a program is that does without the feature `cli`.
fn build_library_example() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "daemonocle"])
        .args(["--no-default-features", "--example", "library"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !status.success() {
        return Err("the example `library` does not compile".into());
    }
    // TARGET/release/instant → TARGET/release/examples/library
    let release = Path::new(env!("CARGO_BIN_EXE_instant")).parent();
    Ok(release.unwrap_or(Path::new(OsStr::new("."))).join("examples/library"))
}

fn report(programs: &[Program; 3], times: &[Vec<Lap>; 3]) {
    let [base, others @ ..] = times;
    println!("{} rounds, medians in microseconds, ratios with 10th..90th percentile", base.len());
    println!("{:5}  {:13}  {:>6}  {:>6}  ratio", "", "", "C", "ours");
    for (action, part) in
        [("start", (|lap| lap.start) as fn(&Lap) -> Duration), ("stop", |lap| lap.stop)]
    {
        let micros = |laps: &[Lap]| -> Vec<f64> {
            laps.iter().map(|lap| part(lap).as_secs_f64() * 1e6).collect()
        };
        let base = micros(base);
        for (program, laps) in programs[1..].iter().zip(others) {
            let ours = micros(laps);
            let ratios: Vec<f64> = ours.iter().zip(&base).map(|(ours, c)| ours / c).collect();
            let ratio = percentile(&ratios, 50);
            println!(
                "{action:5}  {:13}  {:6.0}  {:6.0}  {ratio:.2} ({:.2}..{:.2}){}",
                program.name,
                percentile(&base, 50),
                percentile(&ours, 50),
                percentile(&ratios, 10),
                percentile(&ratios, 90),
                if ratio <= GOAL { "" } else { "  over the goal" },
            );
        }
    }
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN)
}
