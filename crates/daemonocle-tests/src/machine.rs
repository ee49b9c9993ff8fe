//! A machine inside this one: namespaces and a root directory of its own, and a PID 1.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::privilege::{skip, skip_unless_root, skip_unless_there_is};
use crate::process::{Pid, is_alive};
use crate::run::{Output, Run, Running};
use crate::sandbox::Sandbox;
use crate::wait::{DEADLINE, eventually, within};

/// It has the programs of this machine and the directory of a sandbox, and is no container in the
/// eyes of who looks for the marks of one. All of it dies with the sandbox.
pub struct Machine<'a> {
    sandbox: &'a Sandbox,
    outer: Running,
    init: Pid,
    // After the processes that are in it.
    _group: Option<ControlGroup>,
}

impl<'a> Machine<'a> {
    /// Runs a command as PID 1 of a new machine. `None`: that cannot be had here, and has been said
    /// of the test with this name.
    #[must_use]
    pub fn boot(sandbox: &'a Sandbox, run: Run, name: &str) -> Option<Self> {
        if !is_possible(name) {
            return None;
        }
        Self::new(sandbox, run, None, name)
    }

    /// A machine whose PID 1 is systemd, with no units but its own and those in the directory
    /// `units` of the sandbox.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[must_use]
    #[track_caller]
    pub fn with_systemd(sandbox: &'a Sandbox, name: &str) -> Option<Self> {
        let place = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
        let Some(systemd) = place.into_iter().find(|path| Path::new(path).is_file()) else {
            skip(name, "needs systemd");
            return None;
        };
        if !is_possible(name) || skip_unless_there_is("systemctl", name) {
            return None;
        }
        let Some(group) = ControlGroup::new(sandbox) else {
            skip(name, "no control groups of version 2 that can be written to");
            return None;
        };
        let units = sandbox.make_dir("units", 0o755);
        // It waits for nothing, and wants nothing but the units of the test.
        sandbox.write("units/quiet.target", "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n");
        sandbox.write("system.conf", "[Manager]\nLogTarget=null\nDefaultStandardOutput=null\n");
        let script = "mount --bind \"$1/units\" /etc/systemd/system
            cp \"$1/system.conf\" /etc/systemd
            exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \"$2\" --system --unit=quiet.target";
        let shell = Run::new(Path::new("sh"), sandbox.dir());
        let dir = units.parent().unwrap().to_str().unwrap();
        let run = shell.args(&["-ec", script, "sh", dir, systemd]);
        let machine = Self::new(sandbox, run, Some(group), name)?;
        eventually("systemd is running", || {
            let output = machine.run(&["systemctl", "is-system-running"]).finish();
            ["running\n", "degraded\n"].contains(&&*output.stdout)
        });
        // What systemd leaves for those who ask; but this is to be no container.
        machine.run(&["rm", "/run/systemd/container"]).finish().expect(0, "", "");
        Some(machine)
    }

    fn new(
        sandbox: &'a Sandbox,
        run: Run,
        group: Option<ControlGroup>,
        name: &str,
    ) -> Option<Self> {
        let dir = sandbox.dir().to_str().unwrap();
        // The namespace of control groups begins at the one of who makes it.
        let mut unshare =
            vec!["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"];
        let (mut enter, mut path) = (String::new(), "");
        if let Some(group) = &group {
            path = group.0.to_str().unwrap();
            enter = format!(
                "echo $$ > {path}/cgroup.procs || {{ echo 'cgroup.procs: refused' >&2; exit 1; }}; "
            );
        }
        enter.push_str("exec \"$@\"");
        unshare.extend(["--fork", "--kill-child"]);
        unshare.extend(["sh", "-c", include_str!("boot.sh"), "sh", dir]);
        let mut outer = run.under(&unshare).through(&enter).env("CGROUP", path).spawn();
        let booted = within(DEADLINE, || {
            let (stdout, stderr) = (outer.stdout(), outer.stderr());
            let pid = stdout.lines().find_map(|line| line.strip_prefix("booted "));
            match pid.and_then(|pid| pid.parse().ok()) {
                Some(pid) => Some(Ok(pid)),
                None if outer.is_running() || stderr.is_empty() => None,
                None => Some(Err(stderr)),
            }
        });
        /// Who says so when something is not allowed here.
        const REFUSALS: [&str; 3] = ["unshare: ", "mount: ", "cgroup.procs: "];
        let init = match booted.expect("it says that it has booted, or why not") {
            Ok(pid) => pid,
            Err(why) if REFUSALS.iter().any(|word| why.contains(word)) => {
                skip(name, &format!("no namespaces: {}", why.trim()));
                return None;
            }
            Err(why) => panic!("the machine has not booted: {why}"),
        };
        Some(Self { sandbox, outer, init, _group: group })
    }

    /// Its PID 1, as it is numbered outside.
    #[must_use]
    pub fn init(&self) -> Pid {
        self.init
    }

    /// A run of a command in it, not yet begun.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Run {
        let target = self.init.to_string();
        let enter = ["--mount", "--uts", "--ipc", "--net", "--pid", "--target", &target];
        Run::new(Path::new("nsenter"), self.sandbox.dir()).args(&enter).args(words)
    }

    /// Runs `systemctl` in it.
    #[track_caller]
    pub fn systemctl(&self, words: &[&str]) -> Output {
        self.run(&[&["systemctl"], words].concat()).finish()
    }

    /// What systemd says of a unit of its.
    ///
    /// # Panics
    ///
    /// If it says nothing.
    #[must_use]
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let output = self.systemctl(&["show", "--property", name, "--value", unit]);
        assert_eq!(output.code(), Some(0), "{output:?}");
        output.stdout.trim().to_owned()
    }

    /// The number that a process has outside; `None`: there is no such process.
    #[must_use]
    pub fn outside(&self, pid: Pid) -> Option<Pid> {
        let namespace = |pid| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let inner = namespace(self.init)?;
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let outside: Pid = entry.file_name().to_str()?.parse().ok()?;
            if namespace(outside)? != inner {
                return None;
            }
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            (numbers.split_whitespace().last()?.parse() == Ok(pid)).then_some(outside)
        })
    }

    /// Waits until its PID 1 has ended.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    #[track_caller]
    pub fn ended(&self) {
        eventually("PID 1 has ended", || !is_alive(self.init));
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // PID 1 goes with its parent, and all others with it.
        let _ = self.sandbox.try_signal(self.outer.pid(), Signal::KILL);
        let _ = within(DEADLINE, || (!is_alive(self.init)).then_some(()));
    }
}

fn is_possible(name: &str) -> bool {
    !skip_unless_root(name)
        && !skip_unless_there_is("unshare", name)
        && !skip_unless_there_is("nsenter", name)
}

/// A control group of version 2 for systemd to make its own ones in, cgroups(7).
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn new(sandbox: &Sandbox) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let root = mounts.lines().find_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            (fields.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(fields[1]))
        })?;
        let path = root.join(sandbox.dir().file_name()?);
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = within(DEADLINE, || {
            remove(&self.0);
            (!self.0.exists()).then_some(())
        });
    }
}

fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
