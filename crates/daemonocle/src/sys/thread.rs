//! Threads of the library's own.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

/// Runs `f` in a new thread with this name, of 15 bytes at most (pthread_setname_np(3)).
pub(crate) fn spawn(name: &str, f: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(f)
}

/// What serves, under this name.
struct Service(&'static CStr, Box<dyn FnMut() + Send>);

/// Runs `f` in a new thread that serves until the end of the process. It must not run other people's
/// code: a panic there is an end without a word, and there is no stack for signals.
///
/// A thread of the standard library's is made ready for whatever it may come to: for that, functions
/// of the C library are looked up by name, a stack for signals is made, and with the first allocation
/// a heap of its own. A start would wait for it all. This one begins with what it has.
pub(crate) fn spawn_service(name: &'static CStr, f: Box<dyn FnMut() + Send>) -> io::Result<()> {
    /// As the standard library's.
    const STACK: usize = 2 << 20;
    let service = Box::into_raw(Box::new(Service(name, f)));
    let result = with_stack(STACK, |attributes| {
        let mut thread = MaybeUninit::uninit();
        // SAFETY: the attributes are valid, and what `serve` is given is its own.
        unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, serve, service.cast()) }
    });
    if result.is_err() {
        // SAFETY: it comes from a box, and there is no thread that it was given to.
        drop(unsafe { Box::from_raw(service) });
    }
    result
}

/// Calls `f` with the attributes of a thread that has a stack of this size (pthread_attr_init(3)).
fn with_stack(
    size: usize,
    f: impl FnOnce(*const libc::pthread_attr_t) -> libc::c_int,
) -> io::Result<()> {
    let check = |code| if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) };
    let mut attributes = MaybeUninit::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: it is a place for attributes.
    check(unsafe { libc::pthread_attr_init(attributes) })?;
    // SAFETY: they have been initialised.
    let sized = check(unsafe { libc::pthread_attr_setstacksize(attributes, size) });
    let result = sized.and_then(|()| check(f(attributes)));
    // SAFETY: they have been initialised, and a thread does not need them once it is made.
    unsafe { libc::pthread_attr_destroy(attributes) };
    result
}

extern "C" fn serve(service: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: it is the box of `spawn_service`, given to this thread alone. It is not taken apart: to
    // free a part of it, this thread would need a heap.
    let mut service = unsafe { Box::from_raw(service.cast::<Service>()) };
    // Without a name it serves as well.
    let _ = rustix::thread::set_name(service.0);
    (service.1)();
    std::ptr::null_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_runs_under_its_name() -> io::Result<()> {
        let (tell, told) = std::sync::mpsc::channel();
        let service = move || {
            let _ = tell.send(rustix::thread::name());
        };
        spawn_service(c"daemonocle-test", Box::new(service))?;
        assert_eq!(told.recv().ok().transpose()?.as_deref(), Some(c"daemonocle-test"));
        Ok(())
    }
}
