//! A result that is more than that nothing went wrong.

#[daemonocle::main]
fn main() -> std::io::Result<u32> {
    Ok(3)
}
