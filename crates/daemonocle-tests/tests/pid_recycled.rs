//! The PID of a dead daemon, given to somebody else by the kernel: nothing happens to him.

use daemonocle_tests::{RECYCLE, Sandbox, skip, skip_unless_root, skip_unless_there_is};

/// Runs inside a PID namespace of its own, where the next PID can be chosen.
const SCRIPT: &str = r#"
set -e
"$@" start
pid=$(cat "$FIXTURE_PID_FILE")
kill -KILL $pid
while [ -e /proc/$pid ]; do :; done
recycle
[ "$(cat "$FIXTURE_PID_FILE")" = $stranger ]
"$@" status || echo status $?
if [ $MODE = stop ]; then
    "$@" stop --force --timeout 0; echo stop $?
else
    "$@" start; echo start $?
    "$@" stop; echo stop $?
fi
kill -0 $stranger && echo unharmed
"#;

fn run(name: &str, mode: &str) -> Option<(String, String)> {
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return None;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("before", "init");
    let run = fixture.run(&[]).env("MODE", mode).through(&[RECYCLE, SCRIPT].concat());
    // The fixture is PID 1 there, and buries the dead, which a shell does not do.
    let program = fixture.program().to_owned();
    let program = program.to_str().unwrap();
    let output = run
        .under(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", program])
        .finish();
    if output.stderr.contains("unshare: ") {
        skip(name, "no PID namespaces");
        return None;
    }
    assert_eq!(output.code(), Some(0), "{output:?}");
    Some((output.stdout, output.stderr))
}

#[test]
fn a_stop_leaves_the_successor_alone() {
    let Some((stdout, stderr)) = run("a_stop_leaves_the_successor_alone", "stop") else {
        return;
    };
    let (_, after) = stdout.split_once("recycled\n").unwrap();
    assert_eq!(after, "example -- not running\nstatus 1\nstop 0\nunharmed\n", "{stderr}");
    let left = "which has no lock on it; left as it is\nWARNING: example is not running\n";
    assert!(stderr.ends_with(left), "{stderr}");
}

#[test]
fn a_start_works_and_its_stop_leaves_the_successor_alone() {
    let name = "a_start_works_and_its_stop_leaves_the_successor_alone";
    let Some((stdout, stderr)) = run(name, "start") else {
        return;
    };
    let (_, after) = stdout.split_once("recycled\n").unwrap();
    let wanted = "example -- not running\nstatus 1\nStarting example ... OK\nstart 0\n\
                  Stopping example ... OK\nstop 0\nunharmed\n";
    assert_eq!(after, wanted, "{stderr}");
    assert_eq!(stderr, "");
}
