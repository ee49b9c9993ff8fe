//! Names of the program's own that the attribute uses too.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

#![allow(dead_code)]

mod daemonocle {}
mod core {}
mod std {}
struct Result;
struct Ok;
struct Daemon;

const fn context() -> u32 {
    0o022
}

const fn options() -> u32 {
    0o027
}

const fn result() -> u32 {
    0o077
}

#[::daemonocle::main(umask = context() | options() | result())]
fn main(ctx: &::daemonocle::Context) -> ::daemonocle::Result {
    ctx.ready();
    ::core::result::Result::Ok(())
}
