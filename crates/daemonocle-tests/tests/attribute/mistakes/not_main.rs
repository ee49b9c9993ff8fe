//! On a function of another name.

#[daemonocle::main(umask = 0o077)]
fn serve(ctx: &daemonocle::Context) {
    ctx.ready();
}

fn main() {}
