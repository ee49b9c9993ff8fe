//! Daemons that are other programs.

use crate::fixture::Fixture;
use crate::process::{Pid, stat};
use crate::sandbox::Sandbox;

/// A daemon that is this program with these arguments.
#[must_use]
pub fn exec<'a>(sandbox: &'a Sandbox, words: &[&str]) -> Fixture<'a> {
    sandbox.fixture("none").set("exec", words.join("\n"))
}

/// A script whose process says in the file `log` what signals it gets, and goes on.
#[must_use]
pub fn listening(sandbox: &Sandbox) -> Fixture<'_> {
    let log = sandbox.write("log", "");
    let log = log.display();
    let script = format!(
        "for name in INT HUP USR1 USR2; do trap \"echo $name >> {log}\" $name; done; \
         trap 'echo TERM >> {log}; exit 0' TERM; \
         echo begun >> {log}; while :; do sleep 0.05; done"
    );
    exec(sandbox, &["sh", "-c", &script])
}

/// Starts it; the program and its keeper.
///
/// # Panics
///
/// If that does not succeed.
#[must_use]
#[track_caller]
pub fn started_and_kept(fixture: &Fixture<'_>) -> (Pid, Pid) {
    let program = fixture.started();
    (program, stat(program).unwrap().parent)
}
