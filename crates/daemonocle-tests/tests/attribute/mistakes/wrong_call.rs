//! Actions that are not registered as they should be.

#[daemonocle::main(
    action = look,
    action,
    action("look"),
    action_with("look", look),
)]
fn main() {}

fn look() {}
