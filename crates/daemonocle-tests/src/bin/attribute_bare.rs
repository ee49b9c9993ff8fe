//! A daemon by the attribute alone: it ends at once.

/** Ends at once.
 *
 * Indented as it is:
 *     here more.
 */
#[doc = concat!("Called ", "bare.")]
#[daemonocle::main]
fn main() {}
