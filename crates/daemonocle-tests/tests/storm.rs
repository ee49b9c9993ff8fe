//! Random commands and kills from many sides at once: never two daemons, and every answer possible.

use std::thread;

use daemonocle_tests::{Fixture, Output, Sandbox};
use rustix::process::Signal;

const CLIENTS: u64 = 8;
const ROUNDS: usize = 150;

/// Enough chance for a test, and the same every time: Lehmer's generator.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0 * 48271 % 0x7fff_ffff;
        usize::try_from(self.0).unwrap() % sides
    }
}

/// What may have happened to a start, a stop or both in a storm.
fn is_possible(output: &Output) -> bool {
    let Output { stdout, stderr, .. } = output;
    let told = |text: &str| stderr.contains(text);
    match output.code() {
        Some(0) => {
            let is_done = stdout.ends_with("... OK\n") || stdout.contains("-- pid: ");
            is_done || told("already running with PID ") || told("is not running\n")
        }
        // It was ended while it came up, by a stop or by a kill.
        Some(code @ (137 | 143)) => {
            let words = format!("Child exited immediately with exit code {code}");
            stdout.ends_with("Starting example ... FAILED\n") && told(&words)
        }
        Some(1) => {
            stdout.ends_with("-- not running\n")
                || told("Timed out while waiting for process (PID ")
                || told("timed out while waiting for example to finish starting")
        }
        _ => false,
    }
}

fn client(fixture: &Fixture<'_>, seed: u64) {
    let mut dice = Dice(seed);
    for _ in 0..ROUNDS {
        let command: &[&str] = match dice.roll(10) {
            0..4 => &["start"],
            4 => &["stop"],
            5 => &["stop", "--timeout", "0"],
            6 => &["stop", "--timeout", "0", "--force"],
            7 => &["restart"],
            8 => &["status"],
            _ => {
                // Any moment may be its last; somebody else may have been faster.
                if let Some(pid) = fixture.pid() {
                    let _ = fixture.sandbox().try_signal(pid, Signal::KILL);
                }
                continue;
            }
        };
        let output = fixture.run(command).finish();
        assert!(is_possible(&output), "{command:?}: {output:?}");
    }
}

#[test]
fn never_two_and_never_a_false_answer() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("alone").set("alone", sandbox.path("alone"));
    thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|seed| {
                let fixture = fixture.clone();
                scope.spawn(move || client(&fixture, seed))
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
    });
    let two = sandbox.path("alone.two");
    assert!(!two.exists(), "{}", sandbox.read("alone.two"));
    fixture.stop();
    sandbox.expect_nobody();
}
