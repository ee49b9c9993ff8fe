#[daemonocle::main(name = "worker_{n}", multi = "4", pid_file = "/run/worker_{n}.pid")]
fn main() {}
