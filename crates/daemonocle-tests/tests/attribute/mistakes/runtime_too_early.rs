//! A runtime that would be made before the forks.

#[daemonocle::main]
#[tokio::main]
async fn main() {}
