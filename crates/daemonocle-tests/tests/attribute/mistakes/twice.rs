//! Settings that are set twice.

#[daemonocle::main(umask = 0o022, close_open_files, umask = 0o077, close_open_files, name = "a", name = "b")]
fn main() {}
