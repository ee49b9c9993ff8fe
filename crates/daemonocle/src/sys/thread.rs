//! Threads of the library's own.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Runs `f` in a new thread with this name, of 15 bytes at most (pthread_setname_np(3)).
pub(crate) fn spawn(name: &str, f: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(f)
}
