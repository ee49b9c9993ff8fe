//! Values of the wrong type, or that mean nothing.

#[daemonocle::main(
    pid_file = 7,
    umask = "077",
    ready_timeout = 5,
    end_on = ["TERM"],
    on_start = || 3,
)]
fn main() {}
