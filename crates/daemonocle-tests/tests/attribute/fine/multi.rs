use daemonocle::{Context, Result};

/// One of four.
#[daemonocle::main(name = "worker_{n}", multi = 2 + 2, pid_file = "/run/worker_{n:04}.pid")]
fn main(ctx: &Context) -> Result {
    let _: Option<u32> = ctx.worker_id();
    Ok(())
}
