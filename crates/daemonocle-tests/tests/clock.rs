//! The clock on the wall may be set, back and forth, and the time since boot may be another one: what is told
//! of times, and what is waited for, is right all the same.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemonocle_tests::{
    Fixture, Output, Run, Sandbox, is_alive, skip, skip_unless_root, skip_unless_there_is,
    takes_less_than,
};

/// In seconds.
const TEN_YEARS: i64 = 10 * 365 * 86_400;
const WAYS: [i64; 2] = [TEN_YEARS, -TEN_YEARS];

/// What a wait of half a second may take, and what it would not if a clock that goes wrong decided.
const HALF: Duration = Duration::from_millis(500);
const ABOUT_HALF: Duration = Duration::from_secs(3);

/// A clock on the wall that can be set, as programs see it that ask the C library, as `SystemTime` does.
struct Wall<'a> {
    sandbox: &'a Sandbox,
    library: PathBuf,
}

impl<'a> Wall<'a> {
    /// `None`: the calling test has to be skipped, and that is said.
    fn new(sandbox: &'a Sandbox, name: &str) -> Option<Self> {
        if skip_unless_there_is("cc", name) {
            return None;
        }
        let library = sandbox.path("clock.so");
        let source = sandbox.write("clock.c", include_str!("clock.c"));
        let words = ["cc", "-O1", "-shared", "-fPIC", "-o"];
        let [library_text, source] = [&library, &source].map(|path| path.to_str().unwrap());
        let words = [&words[..], &[library_text, source]].concat();
        sandbox.fixture("ready").watch(&words).finish().expect(0, "", "");
        let wall = Self { sandbox, library };
        wall.is_obeyed();
        Some(wall)
    }

    /// By how many seconds it is wrong, and by how many more with each look.
    fn set(&self, offset: i64, drift: i64) {
        self.sandbox.write("clock", format!("{offset} {drift}"));
    }

    fn seen_by(&self, run: Run) -> Run {
        run.env("LD_PRELOAD", &self.library).env("WALL_CLOCK", self.sandbox.path("clock"))
    }

    /// Another program sees it.
    fn is_obeyed(&self) {
        let seconds = |offset| {
            self.set(offset, 0);
            let date = self.sandbox.fixture("ready").watch(&["date", "+%s"]);
            self.seen_by(date).finish().stdout.trim().parse::<i64>().unwrap()
        };
        let passed = seconds(TEN_YEARS) - seconds(-TEN_YEARS);
        assert!((passed - 2 * TEN_YEARS).abs() < 60, "{passed}");
    }
}

#[track_caller]
fn uptime(status: &Output) -> f64 {
    let line: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    line["uptime"].as_f64().unwrap()
}

/// How long it runs.
fn length(run: Run) -> (Duration, Output) {
    let began = Instant::now();
    let output = run.finish();
    (began.elapsed(), output)
}

#[test]
fn uptime_is_not_by_the_wall() {
    let sandbox = Sandbox::new();
    let Some(wall) = Wall::new(&sandbox, "uptime_is_not_by_the_wall") else { return };
    let fixture = sandbox.fixture("polite");
    for offset in WAYS {
        let run = |arguments| wall.seen_by(fixture.run(arguments)).finish();
        wall.set(0, 0);
        run(&["start"]).expect(0, "Starting example ... OK\n", "");
        let pid = fixture.pid().unwrap();
        wall.set(offset, 0);
        let up = uptime(&run(&["status", "--json"]));
        assert!((0.0..60.0).contains(&up), "{offset}: {up}");
        wall.set(-offset, 0);
        run(&["stop"]).expect(0, "Stopping example ... OK\n", "");
        assert!(!is_alive(pid));
    }
}

#[test]
fn a_start_is_given_up_in_time() {
    let sandbox = Sandbox::new();
    let Some(wall) = Wall::new(&sandbox, "a_start_is_given_up_in_time") else { return };
    let fixture = sandbox.fixture("sleep").set("ready", "0.5");
    for drift in WAYS {
        wall.set(0, drift);
        let start = || {
            let (took, output) = length(wall.seen_by(fixture.run(&["start"])));
            let parts = ["ERROR: Timed out: the daemon was not ready within 500ms\n"];
            output.expect_error(1, "Starting example ... FAILED\n", &parts);
            assert!(took >= HALF, "{drift}: {took:?}");
        };
        assert!(takes_less_than(ABOUT_HALF, start), "{drift}");
    }
}

#[test]
fn a_stop_is_given_up_in_time() {
    let sandbox = Sandbox::new();
    let Some(wall) = Wall::new(&sandbox, "a_stop_is_given_up_in_time") else { return };
    let fixture = sandbox.fixture("stubborn");
    wall.set(0, 0);
    wall.seen_by(fixture.run(&["start"])).finish().expect(0, "Starting example ... OK\n", "");
    let pid = fixture.pid().unwrap();
    for drift in WAYS {
        wall.set(0, drift);
        let stop = || {
            let run = fixture.run(&["stop", "--timeout", "0.5"]);
            let (took, output) = length(wall.seen_by(run));
            output.expect_error(1, "Stopping example ... FAILED\n", &["ERROR: Timed out"]);
            assert!(took >= HALF, "{drift}: {took:?}");
        };
        assert!(takes_less_than(ABOUT_HALF, stop), "{drift}");
        assert!(is_alive(pid));
    }
}

/// A run in a time namespace (time_namespaces(7)); `None`: there is no such thing here.
fn in_another_time(fixture: &Fixture<'_>, offset: i64, run: Run, name: &str) -> Option<Run> {
    let offset = format!("--boottime={offset}");
    let unshare = ["unshare", "--time", "--fork", &offset];
    let trial = fixture.watch(&[&unshare[..], &["true"]].concat()).finish();
    if trial.code() != Some(0) {
        skip(name, &format!("no time namespaces: {}", trial.stderr.trim()));
        return None;
    }
    Some(run.under(&unshare))
}

#[test]
fn uptime_is_that_of_a_time_namespace() {
    let name = "uptime_is_that_of_a_time_namespace";
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("polite");
    fixture.started();
    let since_boot = std::fs::read_to_string("/proc/uptime").unwrap();
    let since_boot: i64 = since_boot.split('.').next().unwrap().parse().unwrap();
    for offset in [100_000, -since_boot / 2] {
        let status = fixture.run(&["status", "--json"]);
        let Some(status) = in_another_time(&fixture, offset, status, name) else { return };
        let up = uptime(&status.finish());
        assert!((0.0..60.0).contains(&up), "{offset}: {up}");
    }
}
