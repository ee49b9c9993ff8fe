//! Every system call of a command, and of all processes that have to do with it, failed, killed and held,
//! one in a run; and whether what was said then was true.
//!
//! ```console
//! $ cargo run --release -p daemonocle-tests --bin faults                # everything; takes its time
//! $ cargo run --release -p daemonocle-tests --bin faults -- --every 20  # one run in twenty
//! $ cargo run --release -p daemonocle-tests --bin faults -- start stop  # only these commands
//! ```
//!
//! Prints a table, and what was wrong; the exit code is 1 if anything was. Needs Linux on x86-64, and the
//! permission to trace processes of one's own (ptrace(2)).

#[cfg(target_arch = "x86_64")]
mod errors;
#[cfg(target_arch = "x86_64")]
mod scenario;
#[cfg(target_arch = "x86_64")]
mod sweep;
#[cfg(target_arch = "x86_64")]
mod sys;
#[cfg(target_arch = "x86_64")]
mod tracer;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    sweep::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("skipped: faults: the registers of this processor are not known to it");
}
