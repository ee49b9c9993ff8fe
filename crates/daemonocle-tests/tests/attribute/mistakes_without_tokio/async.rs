//! The feature `tokio` is off.

use daemonocle::{Context, Result};

#[daemonocle::main]
async fn main(ctx: Context) -> Result {
    ctx.ready();
    Ok(())
}
