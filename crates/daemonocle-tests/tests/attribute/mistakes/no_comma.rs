//! A comma is missing.

#[daemonocle::main(pid_file = "/run/example.pid" umask = 0o077)]
fn main() {}
