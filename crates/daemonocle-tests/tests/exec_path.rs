//! Where a program without a slash in its name is looked for, and what is said if it is not there.

use std::os::unix::fs::chown;

use daemonocle_tests::{Fixture, Sandbox, skip_unless_root};

const FAILED: &str = "Starting example ... FAILED\n";
/// An ordinary one.
const USER: u32 = 65533;

/// Starts it as an ordinary user, who may not enter every directory.
#[track_caller]
fn expect_failure(fixture: &Fixture<'_>, path: &str, code: i32, why: &str) {
    let text = format!(
        "ERROR: Child exited immediately with exit code {code}: cannot run program \"nap\": {why}\n"
    );
    let start = fixture.run(&["start"]).env("PATH", path).as_user(USER, USER);
    start.finish().expect(code, FAILED, &text);
    fixture.sandbox().expect_nobody();
}

/// The kernel refuses the directory whatever is in it.
#[test]
fn a_directory_that_may_not_be_entered_has_no_program() {
    if skip_unless_root("a_directory_that_may_not_be_entered_has_no_program") {
        return;
    }
    let sandbox = Sandbox::new();
    let home = sandbox.make_dir("home", 0o755);
    chown(&home, Some(USER), Some(USER)).unwrap();
    let fixture = sandbox.fixture("none").for_everybody().set("exec", "nap\n600");
    let fixture = fixture.set("pid_file", home.join("example.pid")).unset("hook_log");
    let closed = sandbox.make_dir("closed", 0o700);
    let [closed, open] =
        [closed, sandbox.make_dir("open", 0o755)].map(|dir| dir.display().to_string());
    let path = format!("{closed}:/bin:{open}");
    expect_failure(&fixture, &path, 127, "not found in PATH");
    // What counts is the one that the program gets.
    let set = fixture.clone().set("exec_set", format!("PATH={path}"));
    expect_failure(&set, "/bin", 127, "not found in PATH");
    sandbox.write("closed/nap", "");
    expect_failure(&fixture, &path, 127, "not found in PATH");

    sandbox.write("open/nap", "");
    expect_failure(&fixture, &path, 126, "not executable");
    expect_failure(&set, "/bin", 126, "not executable");
    let elsewhere = fixture.clone().set("exec_set", format!("PATH={closed}"));
    expect_failure(&elsewhere, &path, 127, "not found in PATH");
    let nowhere = fixture.set("exec_clear", "yes");
    expect_failure(&nowhere, &path, 127, "not found in PATH");
}
