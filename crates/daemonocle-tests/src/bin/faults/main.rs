//! Every system call of a command, and of all processes that have to do with it, failed, killed and held,
//! one in a run; and whether what was said then was true.
//!
//! ```console
//! $ cargo build --release -p daemonocle-tests --bin fixture --bin faults
//! $ target/release/faults                      # everything; takes its time
//! $ target/release/faults --every 20           # one run in twenty
//! $ target/release/faults --every 4 --offset 1 # one in four; with 0, 2 and 3 it is all of them
//! $ target/release/faults start stop           # only these commands
//! $ target/release/faults restart --only 5:10  # only thread 5, call 10, as in a line of its own
//! ```
//!
//! Prints a table, and what was wrong (`BROKEN`, or `ONCE` where somebody was killed and it was not so when that was
//! done again); the exit code is 1 if anything was broken. Needs Linux on x86-64, and the
//! permission to trace processes of one's own (ptrace(2)).

#[cfg(target_arch = "x86_64")]
mod errors;
#[cfg(target_arch = "x86_64")]
mod judge;
#[cfg(target_arch = "x86_64")]
mod many;
#[cfg(target_arch = "x86_64")]
mod possible;
#[cfg(target_arch = "x86_64")]
mod scenario;
#[cfg(target_arch = "x86_64")]
mod sweep;
#[cfg(target_arch = "x86_64")]
mod sys;
#[cfg(target_arch = "x86_64")]
mod tracer;
#[cfg(target_arch = "x86_64")]
mod words;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    sweep::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("skipped: faults: the registers of this processor are not known to it");
}
