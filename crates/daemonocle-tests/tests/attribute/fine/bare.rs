//! Nothing but the attribute.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

#[daemonocle::main]
fn main() {}
