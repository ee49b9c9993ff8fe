//! Conditions, lints and documentation beside the attribute.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

/// Does something.
#[daemonocle::main]
#[cfg(all())]
#[doc(alias = "start")]
#[allow(unused_variables)]
#[inline(never)]
fn main(ctx: &daemonocle::Context) {
    let text = concat!("a", "b");
}
