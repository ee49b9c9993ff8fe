//! PID files that are edited, deleted or replaced while the daemon runs: it is found all the same,
//! and what took the place of its file is nobody's to change.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};

use daemonocle_tests::{Sandbox, Stranger, eventually, is_alive, skip_unless_root};

#[test]
fn a_file_that_was_edited_still_leads_to_the_daemon() {
    let sandbox = Sandbox::new();
    let mut stranger = Stranger::new();
    let fixture = sandbox.fixture("ready");
    for text in [format!("{}\n", stranger.pid()), "1\n".into(), "x".into(), String::new()] {
        let pid = fixture.started();
        sandbox.write("example.pid", &text);
        let status = fixture.status();
        let shown = format!("example -- pid: {pid}, ");
        assert!(status.stdout.starts_with(&shown), "{text:?}: {status:?}");
        let told = format!("WARNING: example already running with PID {pid}\n");
        fixture.start().expect(0, "", &told);
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        assert!(!is_alive(pid));
        assert!(!sandbox.path("example.pid").exists(), "{text:?}");
    }
    assert!(stranger.is_unharmed());
}

#[test]
fn a_copy_of_the_file_is_nothing() {
    let sandbox = Sandbox::new();
    let pid = sandbox.fixture("ready").started();
    let copy = sandbox.path("copy.pid");
    fs::copy(sandbox.path("example.pid"), &copy).unwrap();
    let fixture = sandbox.fixture("ready").set("pid_file", &copy);
    fixture.status().expect(1, "example -- not running\n", "");
    let left = ["which has no lock on it; left as it is\nWARNING: example is not running\n"];
    fixture.stop().expect_error(0, "", &left);
    assert!(is_alive(pid));
}

/// Stops a daemon, and does something when it has been asked to end and not yet ended.
#[track_caller]
fn stopped_while(sandbox: &Sandbox, act: impl FnOnce()) {
    let (fifo, out) = (sandbox.make_fifo("fifo"), sandbox.path("out"));
    let fixture = sandbox.fixture("polite-slow").set("fifo", &fifo).set("stdout", out);
    let pid = fixture.started();
    let stop = fixture.run(&["stop"]).spawn();
    eventually("it has been asked to end", || sandbox.read("out").contains("closing\n"));
    act();
    fs::write(&fifo, "").unwrap();
    stop.finish().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
}

#[test]
fn a_hard_link_that_takes_the_place_at_the_end() {
    let sandbox = Sandbox::new();
    let (precious, path) = (sandbox.write("precious", "precious\n"), sandbox.path("example.pid"));
    stopped_while(&sandbox, || {
        fs::remove_file(&path).unwrap();
        fs::hard_link(&precious, &path).unwrap();
    });
    assert_eq!(sandbox.read("precious"), "precious\n");
    assert_eq!(path.metadata().unwrap().ino(), precious.metadata().unwrap().ino());
}

#[test]
fn a_file_of_another_user_that_takes_the_place_at_the_end() {
    if skip_unless_root("a_file_of_another_user_that_takes_the_place_at_the_end") {
        return;
    }
    let sandbox = Sandbox::new();
    let (precious, path) = (sandbox.write("precious", "precious\n"), sandbox.path("example.pid"));
    chown(&precious, Some(12345), None).unwrap();
    stopped_while(&sandbox, || fs::rename(&precious, &path).unwrap());
    assert_eq!(sandbox.read("example.pid"), "precious\n");
}

/// The daemon is found by its lock on the file that is gone, and the other file is not its own.
#[test]
fn a_new_file_in_place_of_one_that_was_deleted() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    fs::remove_file(sandbox.path("example.pid")).unwrap();
    sandbox.write("example.pid", "1\n");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
    assert_eq!(sandbox.read("example.pid"), "1\n");
}

#[test]
fn a_hard_link_in_place_of_the_file_of_a_running_daemon() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let (path, aside) = (sandbox.path("example.pid"), sandbox.path("aside"));
    fs::rename(&path, &aside).unwrap();
    fs::hard_link(sandbox.write("precious", "1\n"), &path).unwrap();
    for output in [fixture.status(), fixture.stop(), fixture.restart()] {
        output.expect_error(1, "", &["ERROR: will not use PID file", "it is a hard link"]);
    }
    let names = [sandbox.read("precious"), sandbox.read("example.pid")];
    assert_eq!(names, ["1\n", "1\n"]);
    assert!(is_alive(pid));
    fs::rename(&aside, &path).unwrap();
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert_eq!(sandbox.read("precious"), "1\n");
}

/// It is not even opened, and the daemon is gone: that is what counts.
#[test]
fn something_odd_that_takes_the_place_at_the_end() {
    for kind in ["link", "fifo", "directory"] {
        let sandbox = Sandbox::new();
        let path = sandbox.path("example.pid");
        stopped_while(&sandbox, || {
            fs::remove_file(&path).unwrap();
            match kind {
                "link" => symlink(sandbox.write("precious", "precious\n"), &path).unwrap(),
                "fifo" => drop(sandbox.make_fifo("example.pid")),
                _ => drop(sandbox.make_dir("example.pid", 0o755)),
            }
        });
        assert!(path.symlink_metadata().is_ok(), "{kind}");
        assert_eq!(sandbox.read("precious"), if kind == "link" { "precious\n" } else { "" });
    }
}
