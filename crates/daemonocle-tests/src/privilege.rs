//! Tests that need more than an ordinary user has, and what is said of those that cannot run.

use std::io::{Write, stderr};
use std::path::Path;

/// Whether the tests run as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test is skipped, and why: past the capture of test output, for everybody to see.
pub fn skip(name: &str, why: &str) {
    let _ = stderr().write_all(format!("skipped: {name}: {why}\n").as_bytes());
}

/// Whether the calling test has to be skipped because it needs root; says so if it has.
#[must_use]
pub fn skip_unless_root(name: &str) -> bool {
    if !is_root() {
        skip(name, "needs root");
    }
    !is_root()
}

/// Whether the calling test has to be skipped because `program` is missing; says so if it has.
#[must_use]
pub fn skip_unless_there_is(program: &str, name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
        || Path::new("/usr/bin").join(program).is_file();
    if !is_there {
        skip(name, &format!("needs {program}"));
    }
    !is_there
}
