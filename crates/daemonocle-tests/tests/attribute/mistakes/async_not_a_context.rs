//! A first parameter that is not the context.

#[daemonocle::main]
async fn main(_: String) {}
