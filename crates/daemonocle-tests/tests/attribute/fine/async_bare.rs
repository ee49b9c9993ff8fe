//! Asynchronous, and nothing else.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

#[daemonocle::main]
async fn main() {}
