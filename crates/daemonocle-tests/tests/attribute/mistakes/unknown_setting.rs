//! A setting that there is not, or not by this name.

#[daemonocle::main(
    pidfile = "/run/example.pid",
    umsk = 0o077,
    uid = "nobody",
    shutdown_callback = |_| {},
    frobnicate,
    pid_file("/run/example.pid"),
    worker = || {},
    work_dir = "/",
)]
fn main() {}
