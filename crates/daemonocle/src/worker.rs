//! What a daemon does: a closure, or an asynchronous one.

#![forbid(unsafe_code)]

use crate::context::Context;
use crate::error::Result;

/// Runs once, in the daemon, after everything has been set up.
pub(crate) type Worker = Box<dyn FnOnce(&Context) -> Result + Send>;

/// Runs an asynchronous worker: a multi-thread tokio runtime is built in the daemon, where it
/// belongs, and ends with the worker.
#[cfg(feature = "tokio")]
pub(crate) fn block_on(worker: impl Future<Output = Result>) -> Result {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(worker);
    // Tasks that block must not keep the daemon from ending.
    runtime.shutdown_background();
    result
}
