//! Asynchronous, without an end.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]

#[daemonocle::main]
async fn main() -> ! {
    loop {
        std::future::pending::<()>().await;
    }
}
