//! A program that calls the library: it goes on afterwards, as what it was before.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use daemonocle_tests::{Fixture, Sandbox, descriptors, eventually};
use rustix::process::Signal;

#[test]
fn a_start_that_has_waited_in_vain_can_be_repeated() {
    let sandbox = Sandbox::new();
    let slow = sandbox.fixture("sleep").set("ready", "30").run(&["start"]).spawn();
    eventually("the daemon has been made", || !sandbox.read("example.pid").is_empty());
    let fixture = sandbox.fixture("ready").set("ready", "0.2").set("stop", "0.1");
    let path = sandbox.path("example.pid");
    let line = format!(
        "start: error: timed out while waiting for another start that holds PID file {path:?}\n"
    );
    let output = fixture.clone().set("calls", "start,start").run(&[]).finish();
    output.expect(0, &line.repeat(2), "");
    sandbox.kill(fixture.pid().unwrap());
    assert_ne!(slow.finish().code(), Some(0));
}

#[test]
fn after_the_foreground_signals_mean_to_it_what_they_did() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-ok").set("calls", "foreground,term,status");
    let output = fixture.run(&[]).finish();
    assert_eq!(output.signal(), Some(15), "{output:?}");
    assert_eq!(output.stdout, "foreground: Ended { status: ExitStatus(unix_wait_status(0)) }\n");
}

#[test]
fn the_foreground_works_again_and_whatever_was_said_about_children() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-code").set("calls", "foreground,ignore-children,foreground");
    let line = "foreground: Ended { status: ExitStatus(unix_wait_status(10752)) }\n";
    fixture.run(&[]).finish().expect(0, &line.repeat(2), "");
}

#[test]
fn a_missing_stream_is_made_up_for_in_programs_of_the_worker_too() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-sleep").set("child_pid", sandbox.path("child"));
    let running = fixture.clone().set("calls", "close-input,foreground").run(&[]).spawn();
    eventually("the daemon has been made", || fixture.pid().is_some());
    fixture.settled();
    let child: i32 = sandbox.read("child").parse().unwrap();
    eventually("it is the other program", || {
        descriptors(child).get(&0).is_some_and(|target| target == "/dev/null")
            && std::fs::read(format!("/proc/{child}/comm")).unwrap() == b"sleep\n"
    });
    sandbox.signal(child, Signal::KILL);
    sandbox.signal(fixture.pid().unwrap(), Signal::TERM);
    running.finish();
}

/// Asks ten thousand times: always the same is said, and nothing is left of it.
#[track_caller]
fn expect_often(fixture: &Fixture<'_>, said: &str) {
    let calls = fixture.clone().set("calls", "10000 statuses").run(&[]).finish();
    calls.expect(0, &format!("{said}\ndescriptors: 0\npages: a few\n"), "");
}

#[test]
fn ten_thousand_statuses_leave_nothing() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    fixture.started();
    expect_often(&fixture, "running");
}

#[test]
fn nor_where_nobody_is_running() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    expect_often(&fixture, "not running");
    // Killed, with its PID file left.
    sandbox.kill(fixture.started());
    expect_often(&fixture, "not running");
}

#[test]
fn nor_of_a_pid_file_that_is_refused() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let path = fixture.pid_file();
    sandbox.write("example.pid", "1\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let why = format!(
        "will not use PID file {path:?}: every user may write to it; choose another path, or see by \
         lslocks whether a daemon has it before you remove it"
    );
    expect_often(&fixture, &format!("error: {why}"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    expect_often(&fixture, &format!("error: PID file {path:?} is a directory"));
}

/// One that runs, one that was killed, and one whose PID file is refused.
#[test]
fn nor_of_many_daemons() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("multi", "3").set("name", "worker_{n}");
    let fixture = fixture.set("pid_file", sandbox.path("{n}.pid")).unset("hook_log");
    assert_eq!(fixture.start().code(), Some(0));
    let pid = |id: u32| sandbox.read(&format!("{id}.pid")).trim_end().parse().unwrap();
    sandbox.kill(pid(1));
    sandbox.kill(pid(2));
    let path = sandbox.path("2.pid");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let text = format!("running;not running;error: PID file {path:?} is a directory;");
    expect_often(&fixture, &text);
}
