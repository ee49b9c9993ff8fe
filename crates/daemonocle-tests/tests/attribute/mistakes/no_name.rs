//! A value without a name.

#[daemonocle::main("/run/example.pid")]
fn main() {}
