//! On a struct.

/// Not a worker.
#[daemonocle::main]
pub struct Daemon {
    name: String,
}

fn main() {}
