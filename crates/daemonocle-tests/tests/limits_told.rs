//! Descriptors, memory, file sizes and processes run out for a command while a daemon runs: what it says is
//! true, whether it can do what it is for or not.

use std::os::unix::fs::chown;

use daemonocle_tests::{
    Fixture, Output, Pid, Run, Sandbox, eventually, is_alive, skip_unless_root,
    skip_unless_there_is,
};

const ACTIONS: [&str; 4] = ["status", "reload", "restart", "stop"];

/// What has come of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The program was not even begun.
    Nothing,
    Failed,
    Done,
}

/// Starts a daemon, and does each action with it in this way: whatever comes of it has been told.
#[track_caller]
fn each(fixture: &Fixture<'_>, what: &str, way: impl Fn(Run) -> Run) -> Vec<Outcome> {
    each_as(&ACTIONS, fixture, what, |run| run, way)
}

/// The same as another user: `who` makes it his.
#[track_caller]
fn each_as(
    actions: &[&str],
    fixture: &Fixture<'_>,
    what: &str,
    who: impl Fn(Run) -> Run,
    way: impl Fn(Run) -> Run,
) -> Vec<Outcome> {
    let one = |action: &&str| {
        if fixture.sandbox().survivors().is_empty() {
            who(fixture.run(&["start"])).finish().expect(0, "Starting example ... OK\n", "");
        }
        let (old, what) = (fixture.pid().unwrap(), format!("{action}, {what}"));
        let output = who(way(fixture.run(&[action]))).finish();
        assert!(!output.stderr.contains("panicked"), "{what}: {output:?}");
        judge(fixture, action, old, &output, &what)
    };
    actions.iter().map(one).collect()
}

/// Whether what an action has said is so.
#[track_caller]
fn judge(fixture: &Fixture<'_>, action: &str, old: Pid, output: &Output, what: &str) -> Outcome {
    let sandbox = fixture.sandbox();
    let is_told = output.stderr.contains("ERROR: ");
    if output.code() != Some(0) && !is_told {
        // So little that no word of the program's comes.
        assert_eq!(output.stdout, "", "{what}: {output:?}");
        assert_eq!(sandbox.survivors(), [old], "{what}: {output:?}");
        return Outcome::Nothing;
    }
    // Not once is it "not running": it was, until this action at least.
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(!text.contains("not running"), "{what}: {output:?}");
    if output.code() != Some(0) {
        assert_eq!(output.code(), Some(1), "{what}: {output:?}");
        assert!(!output.stdout.ends_with("OK\n"), "{what}: {output:?}");
    }
    let is_done = output.code() == Some(0);
    match (action, is_done) {
        ("status", true) => {
            let start = format!("example -- pid: {old}, ");
            assert!(output.stdout.starts_with(&start), "{what}: {output:?}");
            assert_eq!(sandbox.survivors(), [old], "{what}");
        }
        ("stop", true) => {
            assert_eq!(output.stdout, "Stopping example ... OK\n", "{what}: {output:?}");
            assert!(!is_alive(old) && fixture.pid().is_none(), "{what}: {output:?}");
            sandbox.expect_nobody();
        }
        ("reload" | "restart", true) => expect_another(fixture, old, what),
        ("status" | "reload", false) => {
            eventually("it is as it was", || sandbox.survivors() == [old]);
            assert_eq!(fixture.pid(), Some(old), "{what}: {output:?}");
        }
        _ => expect_all_or_nothing(fixture, output, what),
    }
    if is_done { Outcome::Done } else { Outcome::Failed }
}

#[track_caller]
fn expect_another(fixture: &Fixture<'_>, old: Pid, what: &str) {
    let new = fixture.pid().unwrap();
    assert!(new != old && is_alive(new), "{what}");
    eventually("there is nobody else", || fixture.sandbox().survivors() == [new]);
}

/// A `stop` or a `restart` has failed: there is a daemon, and its PID file, or none.
#[track_caller]
fn expect_all_or_nothing(fixture: &Fixture<'_>, output: &Output, what: &str) {
    let survivors = fixture.sandbox().survivors();
    match fixture.pid() {
        Some(pid) => assert_eq!(survivors, [pid], "{what}: {output:?}"),
        None => assert!(survivors.is_empty(), "{what}: {output:?}"),
    }
}

fn daemon(sandbox: &Sandbox) -> Fixture<'_> {
    sandbox.fixture("ready").set("on_hup", "yes")
}

/// With more of what was missing it does not get worse.
#[track_caller]
fn expect_improvement(actions: &[&str], outcomes: &[Vec<Outcome>]) {
    for (number, action) in actions.iter().enumerate() {
        let of_action: Vec<_> = outcomes.iter().map(|outcomes| outcomes[number]).collect();
        let first = of_action.iter().position(|outcome| *outcome == Outcome::Done);
        let first = first.unwrap_or_else(|| panic!("{action} never works: {of_action:?}"));
        let is_done = |outcome: &Outcome| *outcome == Outcome::Done;
        assert!(of_action[first..].iter().all(is_done), "{action}: {of_action:?}");
    }
}

#[test]
fn descriptors() {
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let actions = ["status", "restart", "stop"];
    let limits = (4..24).map(|limit| {
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        each_as(&actions, &fixture, &script, |run| run, |run| run.through(&script))
    });
    expect_improvement(&actions, &limits.collect::<Vec<_>>());
}

#[test]
fn memory() {
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    // In KiB.
    for limit in (2_000..24_000).step_by(1_000) {
        let script = format!("ulimit -v {limit}; exec \"$@\"");
        each(&fixture, &format!("ulimit -v {limit}"), |run| run.through(&script));
    }
    let much = each(&fixture, "24 MB", |run| run.through("ulimit -v 24000; exec \"$@\""));
    assert_eq!(much, [Outcome::Done; 4]);
}

/// Nothing of a PID file can be written; what a daemon has to do for a command it does in its own name.
#[test]
fn the_size_of_files() {
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let outcomes = each(&fixture, "ulimit -f 0", |run| run.through("ulimit -f 0; exec \"$@\""));
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done, Outcome::Failed, Outcome::Done]);
    assert!(!fixture.pid_file().exists());
}

#[test]
fn processes() {
    let name = "processes";
    if skip_unless_root(name) || skip_unless_there_is("prlimit", name) {
        return;
    }
    // A user that nobody else uses, because the limit counts all processes of a user.
    let uid = 3_200_000 + std::process::id();
    let sandbox = Sandbox::new();
    chown(sandbox.dir(), Some(uid), Some(uid)).unwrap();
    let fixture = daemon(&sandbox).for_everybody();
    // Where nobody buries the dead, they count.
    let limits = [1, 2, 3, 4, 5, 1000].map(|limit| {
        let limit = format!("--nproc={limit}");
        let who = |run: Run| run.as_user(uid, uid);
        each_as(&ACTIONS, &fixture, &limit, who, |run| run.under(&["prlimit", &limit]))
    });
    expect_improvement(&ACTIONS, &limits);
}

/// All that a reload takes is there before the daemon is asked.
#[test]
fn a_reload_that_fails_for_want_of_descriptors_is_none() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("on_hup", "yes");
    fixture.started();
    for limit in 4..16 {
        let old = fixture.settled();
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let output = fixture.run(&["reload"]).through(&script).finish();
        // By then a reload that is under way has come to its end.
        let new = fixture.settled();
        assert_eq!(output.code() == Some(0), new != old, "{limit}: {output:?}");
    }
}
