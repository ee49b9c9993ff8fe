//! Random commands and kills from many sides at once: never two daemons, and every answer possible. What is
//! done and how it is judged is in the program `storms`.

use std::process::Command;

use daemonocle_tests::program;

#[test]
fn never_two_and_never_a_false_answer() {
    let storm = Command::new(program("storms")).args(["--operations", "1500"]).output().unwrap();
    assert!(storm.status.success(), "{}", String::from_utf8_lossy(&storm.stdout));
}
