//! Random commands and kills from many sides at once: never two daemons, and every answer possible. What is
//! done and how it is judged is in the program `storms`.

use std::process::Command;

use daemonocle_tests::program;

#[track_caller]
fn rage(arguments: &[&str]) {
    let storm = Command::new(program("storms")).args(arguments).output().unwrap();
    assert!(storm.status.success(), "{}", String::from_utf8_lossy(&storm.stdout));
}

#[test]
fn never_two_and_never_a_false_answer() {
    rage(&["--operations", "1000"]);
}

#[test]
fn nor_of_any_of_many_workers() {
    rage(&["--operations", "1000", "--workers", "3"]);
}
