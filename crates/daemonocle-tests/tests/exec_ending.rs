//! A daemon that is another program, when that has ended and its keeper is still there: it is ending, all actions
//! agree, and what they name is what is left of it.

use std::fs;

use daemonocle_tests::{Fixture, Pid, Sandbox, attach, eventually, is_alive, started_and_kept};
use rustix::process::Signal;

fn sleeping(sandbox: &Sandbox) -> Fixture<'_> {
    sandbox.fixture("none").set("exec", "sleep\n3600").set("stop", "0.3")
}

#[track_caller]
fn expect_ending(fixture: &Fixture<'_>, keeper: Pid, state: &str) {
    let status = fixture.status();
    let begin = format!("example -- pid: {keeper}, status: {state}, ");
    assert!(status.stdout.starts_with(&begin), "{status:?}");
    let late =
        format!("ERROR: timed out while waiting for process (PID {keeper}), which is ending\n");
    fixture.start().expect(1, "Starting example ... FAILED\n", &late);
    let late = format!("ERROR: Timed out while waiting for process (PID {keeper}) to terminate\n");
    fixture.stop().expect(1, "Stopping example ... FAILED\n", &late);
    assert!(is_alive(keeper));
}

#[track_caller]
fn expect_works_again(fixture: &Fixture<'_>) {
    let stop = fixture.run(&["stop", "--force"]).finish();
    assert_eq!(stop.code(), Some(0), "{stop:?}");
    fixture.sandbox().expect_nobody();
    fixture.status().expect(1, "example -- not running\n", "");
    fixture.started();
}

#[test]
fn its_hook_hangs() {
    for is_deleted in [false, true] {
        let sandbox = Sandbox::new();
        let fixture = sleeping(&sandbox).set("hook", "hang");
        let (program, keeper) = started_and_kept(&fixture);
        sandbox.kill(program);
        eventually("the hook runs", || fixture.hook_log() == "137|Terminated by SIGKILL (9)\n");
        assert_eq!(fixture.pid(), Some(keeper), "the number may be somebody else's by now");
        if is_deleted {
            fs::remove_file(fixture.pid_file()).unwrap();
            let status = fixture.status();
            assert!(status.stdout.contains(&format!(" pid: {keeper}, ")), "{status:?}");
        } else {
            expect_ending(&fixture, keeper, "sleeping");
        }
        expect_works_again(&fixture);
    }
}

/// It has not noticed yet that it has nothing to keep any more.
#[test]
fn its_keeper_is_stopped() {
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox);
    let (program, keeper) = started_and_kept(&fixture);
    sandbox.signal(keeper, Signal::STOP);
    sandbox.kill(program);
    expect_ending(&fixture, keeper, "stopped");
    sandbox.signal(keeper, Signal::CONT);
    sandbox.expect_nobody();
    assert_eq!(fixture.hook_log(), "137|Terminated by SIGKILL (9)\n");
    expect_works_again(&fixture);
}

/// The kernel kills it after its keeper, and takes its time to bury so much memory: the next one waits for it,
/// although the PID file that named it is gone.
#[test]
fn one_that_dies_slowly_after_its_keeper() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").unset("hook_log");
    let fixture = fixture.set("work_dir", sandbox.dir());
    let memory =
        "x=$(head -c 300000000 /dev/zero | tr '\\0' a); echo > heavy; exec 3<>fifo; read y <&3";
    sandbox.make_fifo("fifo");
    let (old, keeper) = started_and_kept(&fixture.clone().set("exec", format!("sh\n-c\n{memory}")));
    eventually("it has its memory", || sandbox.path("heavy").exists());
    sandbox.signal(keeper, Signal::KILL);
    let script = format!("cat /proc/{old}/stat > seen; exec sleep 3600");
    fixture.set("exec", format!("sh\n-c\n{script}")).started();
    let seen = sandbox.read("seen");
    // A zombie is dead.
    assert!(seen.is_empty() || seen.contains(") Z "), "{seen}");
}

/// A stop that has not reached the program, which could not be signalled just then, may be repeated.
#[test]
fn a_stop_that_did_not_get_through() {
    let name = "a_stop_that_did_not_get_through";
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox);
    let (program, keeper) = started_and_kept(&fixture);
    let deny = ["-f", "-e", "trace=kill", "-e", "inject=kill:error=EPERM:when=1"];
    let Some(_strace) = attach(&fixture, keeper, &deny, name) else {
        return;
    };
    let why = format!("Timed out while waiting for process (PID {program}) to terminate");
    let stop = fixture.run(&["stop", "--timeout", "0.5"]).finish();
    stop.expect_error(1, "Stopping example ... FAILED\n", &[&why]);
    // It is not ending, and there is nothing to wait for.
    let running = format!("WARNING: example already running with PID {program}\n");
    fixture.start().expect(0, "", &running);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    sandbox.expect_nobody();
}
