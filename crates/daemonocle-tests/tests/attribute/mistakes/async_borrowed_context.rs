//! An asynchronous worker that borrows its context.

#[daemonocle::main]
async fn main(_: &daemonocle::Context) {}
