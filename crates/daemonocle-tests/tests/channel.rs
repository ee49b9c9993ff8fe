//! The channel between a start and its daemon fails, for lack of memory say: no start waits in vain for
//! what cannot be sent, or takes for started what it has not heard of.

use std::time::{Duration, Instant};

use daemonocle_tests::{Fixture, Output, Sandbox, eventually, skip, skip_unless_there_is};

/// All time-outs are far longer than this.
const AT_ONCE: Duration = Duration::from_secs(20);
const WHY: &str = "No buffer space available";

/// Runs it with sends that fail, in all its processes; `which` as strace has it. `None`: that cannot be
/// had here.
fn deaf(fixture: &Fixture<'_>, arguments: &[&str], which: &str, name: &str) -> Option<Output> {
    run(fixture, arguments, &format!("sendto:error=ENOBUFS{which}"), name, || ())
}

/// Runs it with this fault in all its processes, and stops what there is then. `None`: that cannot be had
/// here.
fn run(
    fixture: &Fixture<'_>,
    arguments: &[&str],
    fault: &str,
    name: &str,
    look: impl FnOnce(),
) -> Option<Output> {
    if skip_unless_there_is("strace", name) {
        return None;
    }
    let inject = format!("--inject={fault}");
    let strace = ["strace", "-f", "-o", "/dev/null", &inject];
    let began = Instant::now();
    let running = fixture.run(arguments).under(&strace).spawn();
    eventually("it has an outcome", || {
        let said = running.stdout();
        said.contains("OK\n") || said.contains("FAILED\n") || running.stderr().contains("strace: ")
    });
    assert!(began.elapsed() < AT_ONCE, "{fault}");
    if running.stdout().contains("OK\n") {
        look();
    }
    // strace stays with a daemon that has started all the same.
    fixture.stop();
    let output = running.finish();
    if output.stderr.contains("strace: ") {
        skip(name, "strace cannot trace");
        return None;
    }
    Some(output)
}

fn fixtures(sandbox: &Sandbox) -> [Fixture<'_>; 4] {
    let of = |worker: &str| sandbox.fixture(worker).set("stop", "30");
    [
        of("sleep"),
        of("ready").set("ready", "60"),
        of("sleep").set("stderr", sandbox.path("log")),
        of("sleep").set("exec", "sleep\n600"),
    ]
}

#[test]
fn nothing_can_be_sent() {
    let name = "nothing_can_be_sent";
    for arguments in [&["start"][..], &["start", "--debug"]] {
        let sandbox = Sandbox::new();
        for fixture in fixtures(&sandbox) {
            let Some(output) = deaf(&fixture, arguments, "", name) else {
                return;
            };
            assert!(output.code().is_some_and(|code| code != 0), "{output:?}");
            assert!(output.stderr.contains(WHY), "{output:?}");
            assert!(!output.stdout.contains("OK"), "{output:?}");
            sandbox.expect_nobody();
            assert!(!fixture.pid_file().exists());
        }
    }
}

/// Of each process, the first, the second, … message.
#[test]
fn one_message_cannot_be_sent() {
    let name = "one_message_cannot_be_sent";
    for arguments in [&["start"][..], &["start", "--debug"]] {
        let sandbox = Sandbox::new();
        for fixture in fixtures(&sandbox) {
            for number in 1..4 {
                let fixture = match (arguments, number) {
                    // Those that start in the foreground would stay.
                    (["start", "--debug"], 2..) => continue,
                    _ => &fixture,
                };
                let which = format!(":when={number}");
                let Some(output) = deaf(fixture, arguments, &which, name) else {
                    return;
                };
                if output.code() != Some(0) {
                    assert!(output.stderr.contains(WHY), "{which}: {output:?}");
                }
                sandbox.expect_nobody();
                assert!(!fixture.pid_file().exists());
            }
        }
    }
}

/// What was said is heard a moment later: also by the daemon, whose start has been told by then.
#[test]
fn what_is_said_cannot_be_received_at_once() {
    let name = "what_is_said_cannot_be_received_at_once";
    let sandbox = Sandbox::new();
    let [sleep, ready, logs, _] = fixtures(&sandbox);
    for fixture in [sleep, ready, logs] {
        let look = || assert_eq!(fixture.pid(), Some(fixture.settled()));
        let Some(output) = run(&fixture, &["start"], "recvfrom:error=ENOMEM:when=1", name, look)
        else {
            return;
        };
        output.expect(0, "Starting example ... OK\n", "");
        sandbox.expect_nobody();
    }
}
