//! Another error than the library's.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

/// Writes.
#[daemonocle::main]
pub fn main(_: &daemonocle::Context) -> std::io::Result<()> {
    std::fs::write("/nonexistent/file", "text")
}
