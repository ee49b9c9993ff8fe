//! A library that is not there.

#[daemonocle::main(crate = daemonicle, umask = 0o077)]
fn main() {}
