//! A value that says nothing about the end.

#[daemonocle::main]
fn main() -> u32 {
    3
}
