//! How fast `status` is, whole process to whole process.
//!
//! ```console
//! $ cargo bench -p daemonocle-tests --bench status
//! $ PYTHON=venv/bin/python cargo bench -p daemonocle-tests --bench status -- 500
//! ```
//!
//! Without a processor field against ps(1); the number is that of the rounds, 300 by default. In a
//! group of 1,000 processes against the Python library of the same name, which both take longer than
//! they watch the processors: what counts is the rest. Where `$PYTHON` (default: `python3`) does not
//! have that library, only our own figure is shown. All take turns, and the ratio is taken round by
//! round; shown are its median and its 10th and 90th percentile.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const WARM_UP: usize = 10;

/// What `status` may cost, in times of `ps`.
const GOAL_OF_ONE: f64 = 3.0;

const CROWD: usize = 1000;
const ROUNDS_OF_CROWD: usize = 20;

/// What the crowd may cost beyond the window, in times of the original.
const GOAL_OF_CROWD: f64 = 0.1;

/// How long the processors are watched, by us and by the original.
const WINDOWS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

fn main() -> Result {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(300);
    // The daemons become our children when their starters are gone, and we bury them.
    set_child_subreaper(Some(getpid()))?;
    let dir = tempfile::tempdir()?;
    one(dir.path(), rounds)?;
    crowd(dir.path())
}

/// A daemon, until it is dropped.
struct Daemon {
    program: &'static str,
    variables: Vec<(&'static str, String)>,
    pid: Pid,
}

impl Daemon {
    fn start(
        program: &'static str,
        variables: Vec<(&'static str, String)>,
        pid_file: &Path,
    ) -> Result<Self> {
        let mut start = Command::new(program);
        start.arg("start").envs(variables.iter().cloned());
        run(start.stdout(Stdio::null()))?;
        let text = fs::read_to_string(pid_file)?;
        let pid = Pid::from_raw(text.trim().parse()?).ok_or("no PID in the PID file")?;
        Ok(Self { program, variables, pid })
    }

    fn status(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.arg("status").args(arguments).envs(self.variables.iter().cloned());
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let mut stop = Command::new(self.program);
        stop.args(["stop", "--force"]).envs(self.variables.iter().cloned());
        let _ = run(stop.stdout(Stdio::null()));
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
        // Its children are ours now.
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
    }
}

/// The time that a command takes, its output thrown away.
fn run(command: &mut Command) -> Result<Duration> {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).status()?;
    let time = began.elapsed();
    if status.success() { Ok(time) } else { Err(format!("{command:?}: {status}").into()) }
}

fn in_turns(
    rounds: usize,
    warm_up: usize,
    commands: &mut [Command; 2],
) -> Result<[Vec<Duration>; 2]> {
    let mut times = [const { Vec::new() }; 2];
    for round in 0..warm_up + rounds {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let time = run(commands[which].stdout(Stdio::null()))?;
            if round >= warm_up {
                times[which].push(time);
            }
        }
    }
    Ok(times)
}

fn one(dir: &Path, rounds: usize) -> Result {
    let pid_file = dir.join("one.pid");
    let variables = vec![("INSTANT_PID_FILE", pid_file.display().to_string())];
    let daemon = Daemon::start(env!("CARGO_BIN_EXE_instant"), variables, &pid_file)?;
    let ours = daemon.status(&["--json", "--fields", "pid,status,uptime"]);
    let mut ps = Command::new("ps");
    let pid = daemon.pid.as_raw_nonzero().to_string();
    ps.args(["-o", "pid,stat,etime", "-p", &pid]);
    let times = in_turns(rounds, WARM_UP, &mut [ours, ps])?;
    report("pid, status and uptime, to ps", &times, GOAL_OF_ONE);
    Ok(())
}

fn crowd(dir: &Path) -> Result {
    let pid_file = dir.join("crowd.pid");
    let variables = vec![
        ("FIXTURE_WORKER", "crowd".to_owned()),
        ("FIXTURE_CROWD", (CROWD - 1).to_string()),
        ("FIXTURE_READY", "60".to_owned()),
        ("FIXTURE_PID_FILE", pid_file.display().to_string()),
    ];
    let daemon = Daemon::start(env!("CARGO_BIN_EXE_fixture"), variables, &pid_file)?;
    let counted = daemon.status(&["--json", "--fields", "group_num_procs"]).output()?;
    let expected = format!("{{\"group_num_procs\": {CROWD}}}\n");
    if counted.stdout != expected.as_bytes() {
        return Err(format!("{counted:?}").into());
    }
    let mut ours = daemon.status(&["--json"]);
    let Some(theirs) = original(dir, daemon.pid)? else {
        let mut times = Vec::new();
        for _ in 0..ROUNDS_OF_CROWD {
            times.push(run(ours.stdout(Stdio::null()))?.saturating_sub(WINDOWS[0]));
        }
        let median = percentile(&micros(&times), 50);
        println!("{CROWD} processes beyond the window: {median:.0} µs; no original to compare");
        return Ok(());
    };
    let mut times = in_turns(ROUNDS_OF_CROWD, 1, &mut [ours, theirs])?;
    for (times, window) in times.iter_mut().zip(WINDOWS) {
        for time in times {
            *time = time.saturating_sub(window);
        }
    }
    let what = format!("{CROWD} processes beyond the window, to the original");
    report(&what, &times, GOAL_OF_CROWD);
    Ok(())
}

/// The original's `status` of the same process, which it finds by its PID file; `None` where it is
/// not installed.
fn original(dir: &Path, daemon: Pid) -> Result<Option<Command>> {
    const SCRIPT: &str = "import daemonocle, sys
daemonocle.Daemon(name='crowd', worker=print, pid_file=sys.argv[1]).do_action('status', json=True)";
    let python = std::env::var_os("PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let mut trial = Command::new(&python);
    trial.args(["-c", "import daemonocle"]).stderr(Stdio::null());
    if run(&mut trial).is_err() {
        return Ok(None);
    }
    let pid_file = dir.join("original.pid");
    fs::write(&pid_file, format!("{}\n", daemon.as_raw_nonzero()))?;
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).arg(pid_file);
    Ok(Some(command))
}

fn micros(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1e6).collect()
}

fn report(what: &str, [ours, theirs]: &[Vec<Duration>; 2], goal: f64) {
    let (ours, theirs) = (micros(ours), micros(theirs));
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    let ratio = percentile(&ratios, 50);
    println!(
        "{what}: {:.0} µs to {:.0} µs, {ratio:.3} ({:.3}..{:.3}) in {} rounds, goal {goal}{}",
        percentile(&ours, 50),
        percentile(&theirs, 50),
        percentile(&ratios, 10),
        percentile(&ratios, 90),
        ours.len(),
        if ratio <= goal { "" } else { ": missed" },
    );
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN)
}
