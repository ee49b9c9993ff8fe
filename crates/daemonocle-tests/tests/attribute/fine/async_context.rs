//! Asynchronous, with a future that stays in its thread.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

use std::rc::Rc;

use daemonocle::{Context, Result};

#[daemonocle::main]
async fn main(ctx: Context) -> Result {
    let text = Rc::new(String::new());
    ctx.ready();
    ctx.shutdown().requested().await;
    drop(text);
    Ok(())
}
