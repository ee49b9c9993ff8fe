//! The library by a text, as some other attributes have it.

#[daemonocle::main(crate = "daemonocle")]
fn main() {}
