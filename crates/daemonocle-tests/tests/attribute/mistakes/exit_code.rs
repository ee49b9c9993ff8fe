//! An exit code, which the attribute makes.

use std::process::ExitCode;

#[daemonocle::main]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}
