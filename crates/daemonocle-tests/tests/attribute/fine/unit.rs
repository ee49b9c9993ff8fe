//! No context, and an explicit return type.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

#[daemonocle::main()]
fn main() -> () {}
