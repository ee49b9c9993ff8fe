//! A method that is none.

#[daemonocle::main]
fn main(self) {}
