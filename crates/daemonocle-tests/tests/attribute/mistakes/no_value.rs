//! Settings without a value.

#[daemonocle::main(name, pid_file, umask = , crate, on_shutdown)]
fn main() {}
