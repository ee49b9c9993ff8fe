//! How long nobody serves while a daemon reloads, against how long one takes to start.
//!
//! ```console
//! $ cargo bench -p daemonocle-tests --bench reload            # 200 rounds
//! $ cargo bench -p daemonocle-tests --bench reload -- 1000
//! ```
//!
//! The daemon is the example `ready`, which tells its PID to whoever connects. In every round it is
//! started, is asked by one client after the other while it reloads, and is stopped. The gap is the
//! longest time from one answer to the next during the reload: what a client waits for an answer at any
//! other time is in it. Shown are medians, and of the ratio the 10th and 90th percentile.

use std::error::Error;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const WARM_UP: usize = 10;

fn main() -> Result {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(200);
    let dir = tempfile::tempdir()?;
    // As in `lifecycle`: the daemons become our children, and we bury them.
    set_child_subreaper(Some(getpid()))?;
    let daemon = Daemon {
        program: build_example()?,
        dir: dir.path().to_path_buf(),
        port: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
    };
    let mut laps = Vec::new();
    for round in 0..WARM_UP + rounds {
        let lap = daemon.run_once()?;
        if round >= WARM_UP {
            laps.push(lap);
        }
    }
    report(&laps);
    Ok(())
}

/// What one round has shown.
struct Lap {
    start: Duration,
    reload: Duration,
    gap: Duration,
    /// From one answer to the next when nothing else goes on: the longest of a hundred.
    usual: Duration,
}

struct Daemon {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl Daemon {
    fn run_once(&self) -> Result<Lap> {
        let start = self.time(&["start", "--port", &self.port.to_string()])?;
        let old = self.pid()?;
        let usual = self.longest_gap(|answers, _| answers >= 100)?;
        let is_over = AtomicBool::new(false);
        let (reload, gap) = thread::scope(|scope| {
            // Until the new one answers: for a moment both do.
            let client = scope
                .spawn(|| self.longest_gap(|_, pid| pid != old && is_over.load(Ordering::SeqCst)));
            let reload = self.time(&["reload"]);
            is_over.store(true, Ordering::SeqCst);
            (reload, client.join().map_err(|_| "the client has panicked"))
        });
        let (gap, new) = (gap??, self.pid()?);
        self.time(&["stop"])?;
        for pid in [old, new] {
            waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
        }
        Ok(Lap { start, reload: reload?, gap, usual })
    }

    fn time(&self, arguments: &[&str]) -> Result<Duration> {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("TMPDIR", &self.dir);
        let begin = Instant::now();
        let status = command.status()?;
        let time = begin.elapsed();
        match status.success() {
            true => Ok(time),
            false => Err(format!("{arguments:?}: {status}").into()),
        }
    }

    fn pid(&self) -> Result<i32> {
        Ok(std::fs::read_to_string(self.dir.join("ready.pid"))?.trim().parse()?)
    }

    /// The longest time from one answer to the next, until it is over by their number and by who answers.
    fn longest_gap(&self, is_over: impl Fn(usize, i32) -> bool) -> Result<Duration> {
        let mut longest = Duration::ZERO;
        let mut before = Instant::now();
        for answers in 0.. {
            let pid = self.ask()?;
            let now = Instant::now();
            longest = longest.max(now - before);
            before = now;
            if is_over(answers, pid) {
                break;
            }
        }
        Ok(longest)
    }

    fn ask(&self) -> Result<i32> {
        let mut answer = String::new();
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?.read_to_string(&mut answer)?;
        Ok(answer.trim().parse()?)
    }
}

fn build_example() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "daemonocle", "--example", "ready"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !status.success() {
        return Err("the example `ready` does not compile".into());
    }
    let release = Path::new(env!("CARGO_BIN_EXE_instant")).parent().ok_or("no directory")?;
    Ok(release.join("examples/ready"))
}

fn report(laps: &[Lap]) {
    let median = |part: fn(&Lap) -> Duration| {
        let values: Vec<_> = laps.iter().map(|lap| part(lap).as_secs_f64() * 1e6).collect();
        percentile(&values, 50)
    };
    let ratio = |part: fn(&Lap) -> Duration| {
        let ratios: Vec<_> =
            laps.iter().map(|lap| part(lap).as_secs_f64() / lap.start.as_secs_f64()).collect();
        let [low, middle, high] = [10, 50, 90].map(|percent| percentile(&ratios, percent));
        (middle, format!("{middle:.2} ({low:.2}..{high:.2})"))
    };
    println!("{} rounds, medians in microseconds, ratios with 10th..90th percentile", laps.len());
    println!("{:32}  {:6.0}", "start", median(|lap| lap.start));
    println!("{:32}  {:6.0}", "reload", median(|lap| lap.reload));
    println!("{:32}  {:6.0}", "longest wait, usually", median(|lap| lap.usual));
    println!("{:32}  {:6.0}", "longest wait, during a reload", median(|lap| lap.gap));
    let (is, text) = ratio(|lap| lap.gap);
    let verdict = if is < 1.0 { "" } else { "  over the goal" };
    println!("that wait / start                 {text}{verdict}");
    println!("reload / start                    {}", ratio(|lap| lap.reload).1);
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN)
}
