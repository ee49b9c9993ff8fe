//! An error that is not one.

struct Mishap;

#[daemonocle::main]
async fn main() -> Result<(), Mishap> {
    Err(Mishap)
}
