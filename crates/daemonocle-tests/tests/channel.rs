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
    if skip_unless_there_is("strace", name) {
        return None;
    }
    let inject = format!("--inject=sendto:error=ENOBUFS{which}");
    let strace = ["strace", "-f", "-o", "/dev/null", &inject];
    let began = Instant::now();
    let running = fixture.run(arguments).under(&strace).spawn();
    eventually("it has an outcome", || {
        let said = running.stdout();
        said.contains("OK\n") || said.contains("FAILED\n") || running.stderr().contains("strace: ")
    });
    assert!(began.elapsed() < AT_ONCE, "{which}");
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
