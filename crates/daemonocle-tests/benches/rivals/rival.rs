//! Who is compared, and by what commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{Built, succeed};
use crate::home;

/// Somebody who makes daemons.
pub struct Rival {
    pub name: String,
    /// What is said of it below the table.
    pub what: String,
    pub start: Vec<String>,
    pub stop: Vec<String>,
    /// Whether it leaves the stop to kill(1), which waits for nothing.
    pub is_stopped_by_kill: bool,
    pub restart: Option<Vec<String>>,
    /// With what the processor has been given to it, which takes a while to see.
    pub status: Option<Vec<String>>,
    /// Whether it runs, and no more.
    pub check: Option<Vec<String>>,
    /// How large its program is, in bytes, where it is one.
    pub size: Option<u64>,
    /// How many packages have to be built for it, and how long that takes, in seconds.
    pub build: Option<(usize, f64)>,
}

/// In a command, the path of the PID file.
pub const PID_FILE: &str = "{}";

impl Rival {
    fn new(name: &str, what: impl Into<String>, start: &[&str]) -> Self {
        // What is left to do for those who have no stop.
        let kill = ["/bin/sh", "-c", "kill \"$(cat \"$0\")\"", PID_FILE];
        Self {
            name: name.to_owned(),
            what: what.into(),
            start: words(start),
            stop: words(&kill),
            is_stopped_by_kill: true,
            restart: None,
            status: None,
            check: None,
            size: None,
            build: None,
        }
    }

    fn stop(mut self, stop: &[&str]) -> Self {
        self.stop = words(stop);
        self.is_stopped_by_kill = false;
        self
    }

    fn restart(mut self, restart: &[&str]) -> Self {
        self.restart = Some(words(restart));
        self
    }

    fn status(mut self, status: &[&str]) -> Self {
        self.status = Some(words(status));
        self
    }

    fn check(mut self, check: &[&str]) -> Self {
        self.check = Some(words(check));
        self
    }

    fn of_size(mut self, program: &Path) -> Self {
        self.size = program.metadata().ok().map(|metadata| metadata.len());
        self
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// All that are here, and the names of those that are not.
pub fn all(built: &Built, dir: &Path) -> (Vec<Rival>, Vec<&'static str>) {
    let floor = built.floor.display().to_string();
    let mut rivals = vec![
        Rival::new("C", "the least that a program must do", &[&floor, "start", PID_FILE])
            .stop(&[&floor, "stop", PID_FILE])
            .of_size(&built.floor),
    ];
    for it in &built.crates {
        let program = it.program.display().to_string();
        let (name, what) = match it.name {
            "library" => ("daemonocle, library alone", "without its command line".to_owned()),
            "daemonocle" => ("daemonocle", format!("{}, with its command line", it.version)),
            "daemonize" => {
                let same = "daemonix 0.1.0 is the same code, by its own word, with one mend";
                ("daemonize", format!("the crate, {}; {same}", it.version))
            }
            name => (name, format!("the crate, {}", it.version)),
        };
        let mut rival = Rival::new(name, what, &[&program, "start"]).of_size(&it.program);
        if it.name == "daemonocle" {
            rival = rival.restart(&[&program, "restart"]).status(&[&program, "status"]);
            rival = rival.check(&[&program, "status", "--fields", "pid"]);
        }
        if matches!(it.name, "daemonocle" | "library") {
            rival = rival.stop(&[&program, "stop"]);
        }
        rival.build = Some((it.packages, it.time.as_secs_f64()));
        rivals.push(rival);
    }
    let mut absent = Vec::new();
    let others = [
        ("Python daemonocle", original()),
        ("start-stop-daemon", start_stop_daemon(&built.job)),
        ("daemon", daemon(&built.job, dir)),
        ("daemonize, the program", daemonize(&built.job)),
    ];
    for (name, rival) in others {
        match rival {
            Some(rival) => rivals.push(rival),
            None => absent.push(name),
        }
    }
    (rivals, absent)
}

/// The Python that `DAEMONOCLE_PYTHON` names, or `python3`, if it has the original, and the versions of both.
pub fn python() -> Option<(String, String)> {
    let python = std::env::var("DAEMONOCLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let version = "import daemonocle, importlib.metadata as m, platform as p; \
                   print(m.version('daemonocle'), 'with Python', p.python_version(), end='')";
    // Not from here, where a directory has its name.
    let probe = Command::new(&python).args(["-c", version]).current_dir("/").output().ok()?;
    let version = String::from_utf8(probe.stdout).ok().filter(|text| !text.is_empty())?;
    Some((python, version))
}

fn original() -> Option<Rival> {
    let (python, version) = python()?;
    let script = home().join("benches/rivals/programs/original.py").display().to_string();
    let rival = Rival::new(
        "Python daemonocle",
        format!("the original, {version}"),
        &[&python, &script, "start"],
    );
    Some(
        rival
            .stop(&[&python, &script, "stop"])
            .restart(&[&python, &script, "restart"])
            .status(&[&python, &script, "status"]),
    )
}

/// Debian's, with all that it has to be sure.
fn start_stop_daemon(job: &Path) -> Option<Rival> {
    let program = installed("start-stop-daemon")?;
    let what = format!(
        "of dpkg, {}, with --notify-await, for a second (by itself it waits for sixty)",
        package("dpkg")?
    );
    let (program, job) = (program.display().to_string(), job.display().to_string());
    let common = ["--quiet", "--pidfile", PID_FILE, "--exec", &job];
    let with = |words: &[&'static str]| [&[program.as_str()][..], words, &common].concat();
    Some(
        Rival::new(
            "start-stop-daemon",
            what,
            &with(&[
                "--start",
                "--background",
                "--make-pidfile",
                "--notify-await",
                "--notify-timeout=1",
            ]),
        )
        .stop(&with(&["--stop", "--remove-pidfile", "--retry", "TERM/10/KILL/5"]))
        .check(&with(&["--status"])),
    )
}

fn daemon(job: &Path, dir: &Path) -> Option<Rival> {
    let program = installed("daemon")?.display().to_string();
    let what = format!("Debian's package daemon, {}", package("daemon")?);
    let (job, pids) = (job.display().to_string(), format!("--pidfiles={}", dir.display()));
    let with =
        |words: &[&'static str]| [&[&*program, "--unsafe", "--name=job", &*pids], words].concat();
    let start = [&with(&["--"])[..], &[&*job]].concat();
    Some(Rival::new("daemon", what, &start).stop(&with(&["--stop"])).check(&with(&["--running"])))
}

fn daemonize(job: &Path) -> Option<Rival> {
    let program = installed("daemonize")?.display().to_string();
    let what = format!("Debian's package daemonize, {}", package("daemonize")?);
    let job = job.display().to_string();
    Some(Rival::new(
        "daemonize, the program",
        what,
        &[&program, "-p", PID_FILE, "-l", PID_FILE, &job],
    ))
}

pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The version of an installed Debian package.
fn package(name: &str) -> Option<String> {
    succeed(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", name])).ok()
}
