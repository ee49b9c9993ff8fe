//! An exit code of the worker's own, and an inferred one.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

use daemonocle::{Context, Exit, Result};

#[daemonocle::main]
fn main(_: &Context) -> Result<(), Exit> {
    Err(Exit::with_code(3))
}
