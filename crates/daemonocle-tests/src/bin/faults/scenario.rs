//! What is done under faults.

use daemonocle_tests::{Fixture, Sandbox, is_root, serving, stat};

use crate::judge::End;
use crate::many;
use crate::tracer::{self, Call, Fault, Job, Outcome};

/// A command, and the state in which it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Start,
    Stop,
    Restart,
    Status,
    Reload,
    Foreground,
    /// One that reloads.
    ForegroundReload,
    /// One of a program.
    ForegroundProgram,
    /// Two workers.
    Multi(Action),
    /// A restart of a daemon that is a program.
    Program,
    /// A reload of a daemon with sockets.
    Server,
    /// A start of a daemon with all that a definition can have: another user, files, directories, a hook.
    Furnished,
}

/// What two workers are made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    Stop,
    Restart,
    Status,
    Reload,
}

pub(crate) const ALL: [Scenario; 16] = [
    Scenario::Start,
    Scenario::Stop,
    Scenario::Restart,
    Scenario::Status,
    Scenario::Reload,
    Scenario::Foreground,
    Scenario::ForegroundReload,
    Scenario::ForegroundProgram,
    Scenario::Multi(Action::Start),
    Scenario::Multi(Action::Stop),
    Scenario::Multi(Action::Restart),
    Scenario::Multi(Action::Status),
    Scenario::Multi(Action::Reload),
    Scenario::Program,
    Scenario::Server,
    Scenario::Furnished,
];

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::Foreground => "foreground",
            Self::ForegroundReload => "foreground-reload",
            Self::ForegroundProgram => "foreground-program",
            Self::Multi(Action::Start) => "multi",
            Self::Multi(Action::Stop) => "multi-stop",
            Self::Multi(Action::Restart) => "multi-restart",
            Self::Multi(Action::Status) => "multi-status",
            Self::Multi(Action::Reload) => "multi-reload",
            Self::Program => "program",
            Self::Server => "server",
            Self::Furnished => "furnished",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Start | Self::Furnished | Self::Multi(_) => &["start"],
            Self::Stop => &["stop"],
            Self::Restart | Self::Program => &["restart"],
            Self::Status => &["status", "--fields", "pid,num_threads"],
            Self::Reload | Self::Server => &["reload"],
            Self::Foreground | Self::ForegroundReload | Self::ForegroundProgram => {
                &["start", "--debug"]
            }
        }
    }

    /// Whether a daemon is running before.
    fn begins_with_daemon(self) -> bool {
        !matches!(self, Self::Start | Self::Furnished) && self.signals().is_empty()
    }

    /// What the command is sent when nothing happens any more.
    pub(crate) fn signals(self) -> &'static [i32] {
        match self {
            Self::Foreground | Self::ForegroundProgram => &[libc::SIGTERM],
            Self::ForegroundReload => &[libc::SIGHUP, libc::SIGTERM],
            _ => &[],
        }
    }

    /// Whether the daemon is a program, which is kept by a process of its own.
    pub(crate) fn is_program(self) -> bool {
        matches!(self, Self::Program | Self::ForegroundProgram)
    }

    fn fixture(self, sandbox: &Sandbox) -> Fixture<'_> {
        let fixture = match self {
            Self::Program | Self::ForegroundProgram => {
                return sandbox.fixture("").set("exec", "sleep\n600").set("stop", "3");
            }
            Self::Server => {
                let local = sandbox.path("socket");
                serving(sandbox, &format!("web 127.0.0.1:0\nlocal {}\n", local.display()))
            }
            Self::Furnished => furnished(sandbox),
            _ => sandbox.fixture("polite").set("on_hup", "yes"),
        };
        fixture.set("ready", "3").set("stop", "3")
    }

    /// Runs it with this fault; what was seen, and the promises that it has broken.
    pub(crate) fn run(self, plan: Option<(Call, Fault)>) -> (Outcome, Vec<String>) {
        if let Self::Multi(action) = self {
            return many::run(action, plan);
        }
        let sandbox = Sandbox::new();
        let fixture = self.fixture(&sandbox);
        let before = self.begins_with_daemon().then(|| fixture.started());
        let run = fixture.run(self.arguments());
        let keeper = |program| stat(program).map(|program| program.parent);
        let also = if self.is_program() { before.and_then(keeper) } else { before };
        let (also, signals) = (also.into_iter().collect(), self.signals());
        let job = Job { run: &run, sandbox: &sandbox, also, plan, signals };
        let outcome = tracer::run(&job).unwrap();
        let end = End::of(self, &sandbox, &fixture, before, &outcome, plan);
        let broken = end.broken();
        (outcome, broken)
    }
}

/// With a user of its own where the caller is root.
fn furnished(sandbox: &Sandbox) -> Fixture<'_> {
    let path = |name| sandbox.path(name);
    let fixture = sandbox.fixture("polite").set("pid_file", path("run/example.pid"));
    let fixture = fixture.set("stdout", path("log/out")).set("stderr", path("log/out"));
    let fixture = fixture.set("close", "yes").set("work_dir", sandbox.dir()).set("umask", "027");
    let fixture = fixture.set("on_start", "log").set("start_log", path("run/started"));
    let fixture = fixture.unset("hook_log");
    match is_root() {
        true => fixture.set("user", "nobody").set("chroot", "/"),
        false => fixture,
    }
}
