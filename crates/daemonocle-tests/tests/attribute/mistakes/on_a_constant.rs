//! On something that begins as a function could.

#[daemonocle::main]
const MAIN: u8 = 3;

fn main() {}
