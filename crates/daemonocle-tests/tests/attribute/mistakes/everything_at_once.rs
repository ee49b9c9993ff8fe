//! Several mistakes are told together, and the body's with them.

use daemonocle::{Context, Result};

#[daemonocle::main(umask, pidfile = "/run/example.pid", umask = "077")]
fn main(ctx: &Context) -> Result {
    ctx.ready()
}
