//! Under a real systemd, as a unit of each of the types that suit a daemon.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use daemonocle_tests::{Fixture, Machine, Pid, Sandbox, eventually, is_alive, stat};
use rustix::process::Signal;

/// Adds `example.service`; its output goes to the file `output` in the sandbox.
fn add(machine: &Machine<'_>, fixture: &Fixture<'_>, service: &str) {
    let output = fixture.sandbox().path("output");
    let unit = format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart={} start\nTimeoutSec=20\n\
         StandardOutput=append:{}\nStandardError=inherit\nEnvironment={}\n{service}",
        fixture.program().display(),
        output.display(),
        fixture.environment().join(" "),
    );
    fixture.sandbox().write("units/example.service", unit);
    machine.systemctl(&["daemon-reload"]).expect(0, "", "");
}

fn forking(fixture: &Fixture<'_>) -> String {
    format!("Type=forking\nPIDFile={}\n", fixture.pid_file().display())
}

/// The PID of the unit's main process, and its number outside.
#[track_caller]
fn main_process(machine: &Machine<'_>) -> (Pid, Pid) {
    let pid = machine.property("example", "MainPID").parse().unwrap();
    (pid, machine.outside(pid).expect("the main process is there"))
}

/// The states of the unit that a user sees first.
#[track_caller]
fn states(machine: &Machine<'_>) -> [String; 3] {
    ["ActiveState", "SubState", "Result"].map(|name| machine.property("example", name))
}

#[test]
fn type_forking_has_its_main_process_when_the_start_is_over() {
    let name = "type_forking_has_its_main_process_when_the_start_is_over";
    let sandbox = Sandbox::new();
    let Some(machine) = Machine::with_systemd(&sandbox, name) else {
        return;
    };
    for worker in ["ready", "polite"] {
        let fixture = sandbox.fixture(worker).for_everybody();
        add(&machine, &fixture, &forking(&fixture));
        machine.systemctl(&["start", "example"]).expect(0, "", "");
        let (pid, outside) = main_process(&machine);
        assert_eq!(fixture.pid(), Some(pid));
        assert_eq!(states(&machine), ["active", "running", "success"]);
        assert_eq!(stat(outside).unwrap().parent, machine.init());
        let unit = machine.property("example", "ControlGroup");
        let tasks = format!("/sys/fs/cgroup{unit}/cgroup.procs");
        machine.run(&["cat", &tasks]).finish().expect(0, &format!("{pid}\n"), "");

        machine.systemctl(&["stop", "example"]).expect(0, "", "");
        assert!(!is_alive(outside));
        assert_eq!(states(&machine), ["inactive", "dead", "success"]);
        assert!(!fixture.pid_file().exists());
    }
    assert_eq!(sandbox.read("output"), "Starting example ... OK\n".repeat(2));
    let log = "143|Terminated by SIGTERM (15)\n0|Terminated by SIGTERM (15)\n";
    assert_eq!(sandbox.read("hook.log"), log);
}

/// Another program as the worker is the main process; its keeper minds no signal that all get.
#[test]
fn type_forking_with_a_program() {
    let sandbox = Sandbox::new();
    let Some(machine) = Machine::with_systemd(&sandbox, "type_forking_with_a_program") else {
        return;
    };
    let script = sandbox.write("script", "#!/bin/sh\nexec sleep 3600\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let fixture = sandbox.fixture("none").set("exec", &script).for_everybody();
    for end in ["stop", "kill"] {
        add(&machine, &fixture, &forking(&fixture));
        machine.systemctl(&["start", "example"]).expect(0, "", "");
        let (pid, outside) = main_process(&machine);
        assert_eq!(fixture.pid(), Some(pid));
        assert_eq!(states(&machine), ["active", "running", "success"]);
        assert_eq!(fs::read(format!("/proc/{outside}/cmdline")).unwrap(), b"sleep\x003600\0");

        machine.systemctl(&[end, "example"]).expect(0, "", "");
        eventually("the unit is dead", || states(&machine)[1] == "dead");
        assert!(!is_alive(outside));
        assert_eq!(states(&machine), ["inactive", "dead", "success"]);
        assert!(!fixture.pid_file().exists());
    }
    assert_eq!(sandbox.read("hook.log"), "143|Terminated by SIGTERM (15)\n".repeat(2));
}

#[test]
fn type_simple_stays_in_the_foreground_by_itself() {
    let name = "type_simple_stays_in_the_foreground_by_itself";
    let sandbox = Sandbox::new();
    let Some(machine) = Machine::with_systemd(&sandbox, name) else {
        return;
    };
    for worker in ["ready", "polite"] {
        let fixture = sandbox.fixture(worker).for_everybody();
        add(&machine, &fixture, "Type=simple\n");
        machine.systemctl(&["start", "example"]).expect(0, "", "");
        let (_, outside) = main_process(&machine);
        assert_eq!(stat(outside).unwrap().parent, machine.init());
        let daemon = running(&machine, &fixture);
        assert_eq!(stat(daemon).unwrap().parent, outside);
        assert_eq!(stat(daemon).unwrap().group, stat(outside).unwrap().group);

        machine.systemctl(&["stop", "example"]).expect(0, "", "");
        assert!(!is_alive(daemon) && !is_alive(outside));
        assert_eq!(states(&machine), ["inactive", "dead", "success"]);
        assert!(!fixture.pid_file().exists());
    }
    let log = "143|Terminated by SIGTERM (15)\n0|Terminated by SIGTERM (15)\n";
    assert_eq!(sandbox.read("hook.log"), log);
}

/// Waits until the daemon runs, and gives the number that it has outside.
#[track_caller]
fn running(machine: &Machine<'_>, fixture: &Fixture<'_>) -> Pid {
    let program = fixture.program().to_str().unwrap();
    let environment = fixture.environment();
    let mut words: Vec<_> = environment.iter().map(String::as_str).collect();
    words.splice(0..0, ["env"]);
    words.extend([program, "status"]);
    eventually("the daemon runs", || machine.run(&words).finish().code() == Some(0));
    machine.outside(fixture.pid().unwrap()).unwrap()
}

#[test]
fn a_start_that_fails_is_a_failure_with_its_exit_code_and_reason() {
    let name = "a_start_that_fails_is_a_failure_with_its_exit_code_and_reason";
    let sandbox = Sandbox::new();
    let Some(machine) = Machine::with_systemd(&sandbox, name) else {
        return;
    };
    let fixture = sandbox.fixture("end-complaint").for_everybody();
    add(&machine, &fixture, &forking(&fixture));
    let start = machine.systemctl(&["start", "example"]);
    assert_eq!(start.code(), Some(1), "{start:?}");
    assert_eq!(states(&machine), ["failed", "failed", "exit-code"]);
    let command = machine.property("example", "ExecStart");
    assert!(command.contains("; code=exited ; status=3 }"), "{command}");
    let text = "Starting example ... FAILED\nthe jar is broken\n\
                ERROR: Child exited immediately with exit code 3\n";
    assert_eq!(sandbox.read("output"), text);
    assert!(!fixture.pid_file().exists());
    assert_eq!(fixture.hook_log(), "3|Exiting with non-zero exit code 3\n");
}

#[test]
fn in_the_foreground_too() {
    let name = "in_the_foreground_too";
    let sandbox = Sandbox::new();
    let Some(machine) = Machine::with_systemd(&sandbox, name) else {
        return;
    };
    let fixture = sandbox.fixture("end-complaint").for_everybody();
    add(&machine, &fixture, "Type=simple\n");
    machine.systemctl(&["start", "example"]).expect(0, "", "");
    eventually("it has failed", || machine.property("example", "ActiveState") == "failed");
    assert_eq!(machine.property("example", "Result"), "exit-code");
    assert_eq!(machine.property("example", "ExecMainStatus"), "3");
    assert!(sandbox.read("output").contains("the jar is broken\n"));
    assert!(!fixture.pid_file().exists());
}

#[test]
fn a_daemon_that_was_killed_is_started_again() {
    let name = "a_daemon_that_was_killed_is_started_again";
    let sandbox = Sandbox::new();
    let Some(machine) = Machine::with_systemd(&sandbox, name) else {
        return;
    };
    let fixture = sandbox.fixture("ready").for_everybody();
    add(&machine, &fixture, &format!("{}Restart=on-failure\nRestartSec=0\n", forking(&fixture)));
    machine.systemctl(&["start", "example"]).expect(0, "", "");
    for restarts in ["1", "2"] {
        let (pid, outside) = main_process(&machine);
        sandbox.kill(outside);
        eventually("it has been started again", || {
            machine.property("example", "NRestarts") == restarts
                && machine.property("example", "SubState") == "running"
        });
        let (another, outside) = main_process(&machine);
        assert_ne!(another, pid);
        assert_eq!(fixture.pid(), Some(another));
        assert!(is_alive(outside));
    }
    machine.systemctl(&["stop", "example"]).expect(0, "", "");
    assert_eq!(states(&machine), ["inactive", "dead", "success"]);
}

#[test]
fn a_stale_pid_file_is_no_obstacle_to_that() {
    let name = "a_stale_pid_file_is_no_obstacle_to_that";
    let sandbox = Sandbox::new();
    let Some(machine) = Machine::with_systemd(&sandbox, name) else {
        return;
    };
    let fixture = sandbox.fixture("ready").for_everybody();
    // systemd knows nothing of the PID file, and so does not remove it itself.
    let (file, seen) = (fixture.pid_file(), sandbox.path("seen"));
    let look = format!("ExecStartPre=-/bin/cp {} {}\n", file.display(), seen.display());
    add(&machine, &fixture, &format!("Type=simple\nRestart=on-failure\nRestartSec=0\n{look}"));
    machine.systemctl(&["start", "example"]).expect(0, "", "");
    let daemon = running(&machine, &fixture);
    let pid = fixture.pid().unwrap();
    // Neither shall have the time to clean up after the other.
    let both = [daemon, main_process(&machine).1];
    for pid in both {
        sandbox.signal(pid, Signal::STOP);
        eventually("it has stopped", || stat(pid).is_some_and(|stat| stat.state == 'T'));
    }
    for pid in both {
        sandbox.kill(pid);
    }
    eventually("it has been started again", || machine.property("example", "NRestarts") == "1");
    let another = running(&machine, &fixture);
    assert!(is_alive(another));
    assert_eq!(sandbox.read("seen"), format!("{pid}\n"), "it was there");
    machine.systemctl(&["stop", "example"]).expect(0, "", "");
}

/// The first who connects makes systemd start the daemon, which gets the socket, and hands it on when it
/// reloads.
#[test]
fn socket_activation() {
    let sandbox = Sandbox::new();
    let Some(machine) = Machine::with_systemd(&sandbox, "socket_activation") else {
        return;
    };
    let socket = sandbox.path("given.sock");
    let unit = format!(
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream={}\nFileDescriptorName=http\n",
        socket.display()
    );
    sandbox.write("units/example.socket", unit);
    let fixture = sandbox.fixture("serves").for_everybody().set("on_hup", "yes");
    let fixture = fixture.set("listen", sandbox.write("listen", "http /somewhere/else.sock\n"));
    let fixture = fixture.set("out", sandbox.write("out", ""));
    let ask = || {
        let mut answer = String::new();
        UnixStream::connect(&socket).unwrap().read_to_string(&mut answer).unwrap();
        answer.trim_end().parse::<Pid>().unwrap()
    };
    for service in ["Type=simple\n".to_owned(), forking(&fixture)] {
        add(
            &machine,
            &fixture,
            &format!("{service}ExecReload={} reload\n", fixture.program().display()),
        );
        machine.systemctl(&["start", "example.socket"]).expect(0, "", "");
        assert_eq!(states(&machine), ["inactive", "dead", "success"]);
        let first = ask();
        eventually("the unit is running", || states(&machine) == ["active", "running", "success"]);
        assert_eq!(fixture.pid(), Some(first));

        machine.systemctl(&["reload", "example"]).expect(0, "", "");
        let second = ask();
        assert_ne!(second, first);
        assert_eq!(fixture.pid(), Some(second));
        assert_eq!(states(&machine), ["active", "running", "success"]);

        machine.systemctl(&["stop", "example.socket", "example"]).expect(0, "", "");
        assert_eq!(
            states(&machine),
            ["inactive", "dead", "success"],
            "{service}: {} {}; {}",
            machine.property("example", "ExecMainCode"),
            machine.property("example", "ExecMainStatus"),
            fixture.hook_log()
        );
        assert!(!fixture.pid_file().exists());
    }
}
