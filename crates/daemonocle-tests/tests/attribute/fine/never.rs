//! A worker that never returns.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

use daemonocle::Context;

#[daemonocle::main]
fn main(ctx: &Context) -> ! {
    ctx.ready();
    loop {
        std::thread::park();
    }
}
