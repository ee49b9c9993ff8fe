//! Functions of a special kind.

#[daemonocle::main]
const unsafe extern "C" fn main() {}
