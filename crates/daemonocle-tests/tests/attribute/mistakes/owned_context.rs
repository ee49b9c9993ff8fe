//! A context that only an asynchronous worker owns.

#[daemonocle::main]
fn main(_: daemonocle::Context) {}
