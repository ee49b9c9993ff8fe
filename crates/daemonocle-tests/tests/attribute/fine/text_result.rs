//! A text for an error.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

#[daemonocle::main]
fn main() -> Result<(), String> {
    Err("no".to_owned())
}
