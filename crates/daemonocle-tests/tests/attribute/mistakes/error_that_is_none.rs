//! An error that is not one.

struct Mishap;

#[daemonocle::main]
fn main() -> Result<(), Mishap> {
    Err(Mishap)
}
