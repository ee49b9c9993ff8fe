//! More than the context and the options.

#[daemonocle::main]
fn main(_: &daemonocle::Context, _: u16, _: String, _: ()) {}
