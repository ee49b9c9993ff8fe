//! The programs that are compared, built as their users would.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Result, home};

pub struct Built {
    /// The C program, as little as there can be.
    pub floor: PathBuf,
    /// As many bare children as one wants, in C.
    pub forks: PathBuf,
    /// A program that knows nothing of daemons.
    pub job: PathBuf,
    pub crates: Vec<Crate>,
}

/// A program that uses a crate.
pub struct Crate {
    pub name: &'static str,
    pub version: String,
    pub program: PathBuf,
    /// How many packages it consists of, without itself.
    pub packages: usize,
    /// How long it takes to build all of it.
    pub time: Duration,
}

impl Built {
    pub fn all(dir: &Path) -> Result<Self> {
        let benches = home().join("benches");
        let programs = benches.join("rivals/programs");
        let compile = |source: &Path| -> Result<PathBuf> {
            let program = dir.join(source.file_stem().unwrap_or_default());
            let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
            let mut command = Command::new(&compiler);
            command.args(["-O2", "-s", "-Wall", "-o"]).args([&program, source]);
            succeed(&mut command).map(|_| program)
        };
        let crates = ["daemonocle", "library", "daemonize", "fork", "dmon"];
        let crates = crates.map(|name| Crate::build(name, &programs, dir));
        Ok(Self {
            floor: compile(&benches.join("baseline.c"))?,
            forks: compile(&benches.join("forks.c"))?,
            job: compile(&programs.join("job.c"))?,
            crates: crates.into_iter().collect::<Result<_>>()?,
        })
    }
}

impl Crate {
    /// From clean, with everything fetched.
    fn build(name: &'static str, programs: &Path, dir: &Path) -> Result<Self> {
        let package = format!("rival-{name}");
        let cargo = || {
            let mut cargo =
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.current_dir(programs);
            cargo
        };
        let tree = ["tree", "--locked", "--prefix", "none", "--edges", "normal,build", "--package"];
        let tree = succeed(cargo().args(tree).arg(&package))?;
        // A line each: name, version, and what else there is to say.
        let mut packages: Vec<_> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        packages.sort_unstable();
        packages.dedup();
        let whose = if name == "library" { "daemonocle" } else { name };
        let version = packages.iter().find_map(|line| line.strip_prefix(whose)?.strip_prefix(" v"));
        let version = version.and_then(|words| words.split(' ').next()).unwrap_or("?").to_owned();
        let target = dir.join(format!("target-{name}"));
        let begin = Instant::now();
        let build = ["build", "--quiet", "--locked", "--release", "--package", &package];
        succeed(cargo().args(build).arg("--target-dir").arg(&target))?;
        let (time, program) = (begin.elapsed(), target.join("release").join(package));
        Ok(Self { name, version, program, packages: packages.len() - 1, time })
    }
}

/// What it prints.
pub fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}: {errors}", output.status).into())
        }
    }
}
