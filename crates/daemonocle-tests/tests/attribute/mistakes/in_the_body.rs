//! A mistake in the body stays where it is.

#[daemonocle::main(umask = 0o077)]
fn main(ctx: &daemonocle::Context) -> daemonocle::Result {
    ctx.redy();
    Ok(())
}
