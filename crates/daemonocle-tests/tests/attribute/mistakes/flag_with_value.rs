//! Flags are there or not.

#[daemonocle::main(close_open_files = true, allow_core_dumps(false))]
fn main() {}
