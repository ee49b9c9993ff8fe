//! A caller without standard streams, for every command but a start in the background (see `environment`):
//! what is opened does not get into their place.

use std::fs;

use daemonocle_tests::{Fixture, Pid, Sandbox, descriptors, eventually, is_alive};

/// Each and all, as a shell writes it.
const CLOSED: [&str; 7] =
    ["0<&- 1>&- 2>&-", "0<&-", "1>&-", "2>&-", "0<&- 1>&-", "1>&- 2>&-", "0<&- 2>&-"];

fn script(closed: &str) -> String {
    format!("exec \"$@\" {closed}")
}

/// The streams that a daemon in the background has.
#[track_caller]
fn expect_null(pid: Pid, closed: &str) {
    eventually("standard error is released", || descriptors(pid)[&2] == "/dev/null");
    let open = descriptors(pid);
    assert_eq!([&open[&0], &open[&1]], ["/dev/null"; 2], "{closed}");
}

/// Does it with each set of streams: whether they are there to be written to, and what comes.
#[track_caller]
fn each(act: impl Fn(&Fixture<'_>, &str, [bool; 2])) {
    for closed in CLOSED {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready").set("on_hup", "yes");
        act(&fixture, closed, ["1>&-", "2>&-"].map(|stream| !closed.contains(stream)));
    }
}

/// What a command says, as far as somebody can hear it.
#[track_caller]
fn expect(fixture: &Fixture<'_>, action: &str, closed: &str, code: i32, said: [&str; 2]) {
    let output = fixture.run(&[action]).through(&script(closed)).finish();
    assert_eq!(output.code(), Some(code), "{closed}: {output:?}");
    assert_eq!([&*output.stdout, &*output.stderr], said, "{closed}: {output:?}");
}

fn heard(is_heard: bool, text: &str) -> &str {
    if is_heard { text } else { "" }
}

#[test]
fn status() {
    each(|fixture, closed, [out, _]| {
        expect(fixture, "status", closed, 1, [heard(out, "example -- not running\n"), ""]);
        let pid = fixture.started();
        let output = fixture.run(&["status"]).through(&script(closed)).finish();
        assert_eq!((output.code(), &*output.stderr), (Some(0), ""), "{closed}: {output:?}");
        let start = format!("example -- pid: {pid}, ");
        assert!(output.stdout.starts_with(heard(out, &start)), "{closed}: {output:?}");
        assert_eq!(output.stdout.is_empty(), !out, "{closed}: {output:?}");
        assert_eq!(fixture.sandbox().read("example.pid"), format!("{pid}\n"), "{closed}");
    });
}

#[test]
fn restart() {
    each(|fixture, closed, [out, err]| {
        let warning = "WARNING: example is not running\n";
        let started = "Starting example ... OK\n";
        expect(fixture, "restart", closed, 0, [heard(out, started), heard(err, warning)]);
        let first = fixture.pid().unwrap();
        expect_null(first, closed);
        let both = format!("Stopping example ... OK\n{started}");
        expect(fixture, "restart", closed, 0, [heard(out, &both), ""]);
        let second = fixture.pid().unwrap();
        assert!(second != first && !is_alive(first), "{closed}");
        expect_null(second, closed);
        assert_eq!(fixture.sandbox().survivors(), [second], "{closed}");
    });
}

/// Of the caller of `reload`, and of who has started what reloads.
#[test]
fn reload() {
    each(|fixture, closed, [out, err]| {
        let warning = "WARNING: example is not running\n";
        expect(fixture, "reload", closed, 1, ["", heard(err, warning)]);
        expect(fixture, "start", closed, 0, [heard(out, "Starting example ... OK\n"), ""]);
        let first = fixture.pid().unwrap();
        expect(fixture, "reload", closed, 0, [heard(out, "Reloading example ... OK\n"), ""]);
        let second = fixture.pid().unwrap();
        assert_ne!(second, first);
        eventually("the old one is gone", || fixture.sandbox().survivors() == [second]);
        expect_null(second, closed);
    });
}

/// What is closed there is closed for the worker too, or leads to nothing; and nothing else is in its place.
#[test]
fn the_foreground() {
    each(|fixture, closed, [out, err]| {
        let sandbox = fixture.sandbox();
        let running = fixture.run(&["start", "--debug"]).through(&script(closed)).spawn();
        eventually("the daemon has been made", || fixture.pid().is_some());
        for _ in 0..2 {
            let pid = fixture.settled();
            let open = descriptors(pid);
            let ours: [bool; 3] = [!closed.contains("0<&-"), out, err];
            for (number, is_open) in (0..).zip(ours) {
                let target = open.get(&number).map(String::as_str);
                let is_it = match target {
                    Some("/dev/null") => !is_open || number == 0,
                    Some(target) => is_open && target.starts_with("pipe:"),
                    None => false,
                };
                assert!(is_it, "{closed}: {number}: {target:?}");
            }
            fixture.reload().expect(0, "Reloading example ... OK\n", "");
            eventually("the old one is gone", || !is_alive(pid));
        }
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
        let output = running.finish();
        assert_eq!(output.signal(), Some(libc::SIGTERM), "{closed}: {output:?}");
        let begun = output.stdout.starts_with("Starting example ... OK\n");
        assert_eq!((begun, output.stdout.is_empty()), (out, !out), "{closed}: {output:?}");
        assert!(fs::metadata(fixture.pid_file()).is_err(), "{closed}");
        sandbox.expect_nobody();
    });
}
