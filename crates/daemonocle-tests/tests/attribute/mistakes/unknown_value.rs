//! Values that there are not.

#[daemonocle::main(
    detach = Never,
    layout = Layout::prefix("/opt"),
)]
fn main() {}
