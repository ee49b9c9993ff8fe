//! A first parameter that is not the context.

#[daemonocle::main]
fn main(_: &str) {}
