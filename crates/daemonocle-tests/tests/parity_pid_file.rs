//! The same cases with the original and with ours: PID files that are not what they should be.

use daemonocle_tests::{Stranger, both, eventually, is_alive, stat};

const STARTED: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";

#[test]
fn a_pid_file_that_is_broken() {
    both("a_pid_file_that_is_broken", "sleep", |it| {
        let warning = "WARNING: Empty or broken PID file DIR/example.pid; ";
        let not_running = "example -- not running\n";
        let broken = || it.sandbox().write("example.pid", "banana\n");
        let tell = |end: &str| format!("{warning}{end}\n");
        let removing = tell("removing");
        broken();
        it.differs(
            &["status"],
            (1, not_running, &tell("left as it is")),
            (1, not_running, &removing),
        );
        assert_eq!(it.has_pid_file(), it.pick(true, false));
        broken();
        let none = "WARNING: example is not running\n";
        it.differs(
            &["stop"],
            (0, "", &(tell("removed") + none)),
            (0, "", &(removing.clone() + none)),
        );
        assert!(!it.has_pid_file());
        broken();
        it.differs(&["start"], (0, STARTED, &tell("replacing it")), (0, STARTED, &removing));
        assert_eq!(it.run(&["status"]).finish().code(), Some(0), "{}", it.name());
    });
}

/// Edited while the daemon runs: the original loses it.
#[test]
fn a_pid_file_that_is_broken_by_hand() {
    both("a_pid_file_that_is_broken_by_hand", "sleep", |it| {
        it.does(&["start"], 0, STARTED, "");
        let pid = it.pid();
        it.sandbox().write("example.pid", "banana\n");
        let output = it.run(&["status"]).finish();
        assert_eq!(output.code(), Some(it.pick(0, 1)), "{}: {output:?}", it.name());
        let output = it.run(&["stop"]).finish();
        assert_eq!(output.code(), Some(0), "{}: {output:?}", it.name());
        assert_eq!(is_alive(pid), it.pick(false, true), "{}", it.name());
    });
}

#[test]
fn a_pid_file_that_is_left_over() {
    both("a_pid_file_that_is_left_over", "sleep", |it| {
        it.does(&["start"], 0, STARTED, "");
        let pid = it.pid();
        it.sandbox().kill(pid);
        eventually("it is buried", || stat(pid).is_none() || !it.is_original());
        assert!(it.has_pid_file());
        it.does(&["status"], 1, "example -- not running\n", "");
        assert_eq!(it.has_pid_file(), it.pick(true, false));
        it.does(&["stop"], 0, "", "WARNING: example is not running\n");
        assert!(!it.has_pid_file());
        it.sandbox().write("example.pid", format!("{pid}\n"));
        it.does(&["start"], 0, STARTED, "");
        it.does(&["stop"], 0, STOPPED, "");
    });
}

/// A number that somebody else has: the original takes him for the daemon.
#[test]
fn a_pid_file_that_names_somebody_else() {
    both("a_pid_file_that_names_somebody_else", "sleep", |it| {
        let mut stranger = Stranger::new();
        it.sandbox().write("example.pid", format!("{}\n", stranger.pid()));
        let status = it.run(&["status"]).finish();
        assert_eq!(status.code(), Some(it.pick(1, 0)), "{}: {status:?}", it.name());
        if !it.is_original() {
            let stop = it.run(&["stop"]).finish();
            stop.expect_error(0, "", &["; left as it is\nWARNING: example is not running\n"]);
            assert!(stranger.is_unharmed() && it.has_pid_file());
        }
    });
}

#[test]
fn a_definition_without_a_pid_file() {
    both("a_definition_without_a_pid_file", "sleep", |it| {
        let it = it.unset("pid_file");
        it.does(&["start"], 0, STARTED, "");
        for action in ["stop", "status"] {
            let output = it.run(&[action]).finish();
            assert_eq!((output.code(), &*output.stdout), (Some(1), ""), "{}", it.name());
            let words = it.pick("ERROR: example has no PID file", "without PID file");
            assert!(output.stderr.contains(words), "{}: {output:?}", it.name());
            assert_eq!(output.stderr.contains("Traceback"), it.pick(false, true));
        }
    });
}
