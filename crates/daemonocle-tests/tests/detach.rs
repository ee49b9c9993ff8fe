//! `Detach::Auto`: a child of PID 1 is a service, which stays in the foreground, unless its
//! supervisor wants it otherwise, or PID 1 is just whatever a container happens to run.

use daemonocle_tests::{Fixture, Machine, Pid, Run, Sandbox, Stat, eventually, stat};

const OK: &str = "Starting example ... OK\n";

/// Becomes a child of PID 1 before it becomes the command in the arguments.
const ORPHAN: &str = r#"
{
    until [ "$parent" = 1 ]; do
        read -r pid name state parent rest < /proc/self/stat
    done
    exec "$@"
} < /dev/null &
"#;

/// A machine with an init, and the definition of a daemon for it.
fn machine<'a>(sandbox: &'a Sandbox, name: &str) -> Option<(Machine<'a>, Fixture<'a>)> {
    let fixture = sandbox.fixture("ready").for_everybody();
    let init = fixture.clone().set("before", "init").run(&["sleep", "600"]);
    Some((Machine::boot(sandbox, init, name)?, fixture))
}

/// `start` in a machine, by its PID 1.
fn start(machine: &Machine<'_>, fixture: &Fixture<'_>) -> Run {
    let run =
        machine.run(&["sh", "-c", ORPHAN, "sh", fixture.program().to_str().unwrap(), "start"]);
    let environment = fixture.environment();
    let pairs = environment.iter().filter_map(|item| item.split_once('='));
    pairs.fold(run, |run, (name, value)| run.env(name, value))
}

/// What the daemon of this machine is.
#[track_caller]
fn daemon(machine: &Machine<'_>, fixture: &Fixture<'_>) -> (Pid, Stat) {
    let mut pid = None;
    eventually("there is a daemon", || {
        pid = fixture.pid().and_then(|pid| machine.outside(pid));
        pid.is_some()
    });
    (pid.unwrap(), stat(pid.unwrap()).unwrap())
}

#[test]
fn a_child_of_pid_1_stays_in_the_foreground() {
    let sandbox = Sandbox::new();
    let name = "a_child_of_pid_1_stays_in_the_foreground";
    let Some((machine, fixture)) = machine(&sandbox, name) else {
        return;
    };
    let running = start(&machine, &fixture).spawn();
    running.says(OK);
    let (_, daemon) = daemon(&machine, &fixture);
    let parent = stat(daemon.parent).unwrap();
    assert_eq!((parent.parent, parent.session), (machine.init(), daemon.session));
}

#[track_caller]
fn detaches(machine: &Machine<'_>, fixture: &Fixture<'_>, run: Run) {
    run.finish().expect(0, OK, "");
    let (pid, daemon) = daemon(machine, fixture);
    assert_eq!(daemon.parent, machine.init());
    assert_ne!(daemon.session, stat(machine.init()).unwrap().session);
    fixture.sandbox().kill(pid);
}

#[test]
fn systemd_may_want_it_to_detach() {
    let sandbox = Sandbox::new();
    let Some((machine, fixture)) = machine(&sandbox, "systemd_may_want_it_to_detach") else {
        return;
    };
    let run = start(&machine, &fixture).env("PIDFILE", fixture.pid_file());
    detaches(&machine, &fixture, run);
}

#[test]
fn a_child_of_pid_1_of_a_container_detaches() {
    let sandbox = Sandbox::new();
    let name = "a_child_of_pid_1_of_a_container_detaches";
    let Some((machine, fixture)) = machine(&sandbox, name) else {
        return;
    };
    for mark in ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"] {
        let script = "mkdir -p /run/systemd && : > $1";
        machine.run(&["sh", "-c", script, "sh", mark]).finish().expect(0, "", "");
        detaches(&machine, &fixture, start(&machine, &fixture));
        machine.run(&["rm", mark]).finish().expect(0, "", "");
    }
}
