//! A context that is borrowed for more than it can be.

#[daemonocle::main]
fn main(_: &mut daemonocle::Context) {}
