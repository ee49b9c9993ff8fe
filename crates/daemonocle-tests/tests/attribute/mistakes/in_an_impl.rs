//! On an associated function that would be a worker if it were not one.

struct Daemon;

impl Daemon {
    #[daemonocle::main]
    fn main(&self, ctx: &daemonocle::Context) {
        ctx.ready();
    }
}

fn main() {}
