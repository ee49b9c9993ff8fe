//! Threads of the library's own.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

use super::check;

/// Runs `f`, which may be other people's code, in a new thread with this name, of 15 bytes at most
/// (pthread_setname_np(3)).
pub(crate) fn spawn(name: &str, f: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(f)
}

/// As the standard library's.
const STACK: usize = 2 << 20;

/// Makes sure that there is memory for a thread of ours and for all that it may ask for: where there is none, an
/// allocation ends the process, and a thread that was not made is an error. Tried and given back (mmap(2)), so
/// that somebody else may take it meanwhile.
pub(crate) fn require_memory() -> io::Result<()> {
    /// Ample, also where the C library has no room for a heap of the thread and each allocation is a page.
    const ROOM: usize = 4 << 20;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, where the kernel likes it, touches nobody's memory.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), STACK + ROOM, access, flags, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is the mapping just made, which nobody has been told of.
    check(unsafe { libc::munmap(place, STACK + ROOM) }).map(drop)
}

/// Gives the calling thread memory of its own, which the C library makes for it with its first allocation: what
/// little it asks for later is there then, even if nothing is to be had from the kernel any more.
pub(crate) fn settle() {
    /// Less than a thread gets at first, in glibc and elsewhere.
    const SOME: usize = 16 << 10;
    let mut some = Vec::<u8>::new();
    // There may be none: then it goes on without.
    let _ = some.try_reserve_exact(SOME);
    // Or the compiler might do without as well.
    std::hint::black_box(&mut some);
}

/// What a thread of ours does, under this name.
struct Task(&'static CStr, Box<dyn FnMut() + Send>);

/// Runs `f`, our own code, in a new thread that nobody waits for. A panic there ends the process, and there
/// is no stack for signals.
///
/// A thread of the standard library's is made ready for whatever it may come to: for that, functions
/// of the C library are looked up by name, a stack for signals is made, and with the first allocation
/// a heap of its own. A start would wait for it all, and where there is no memory for that stack, the
/// standard library ends the process. This one begins with what it has, or is an error.
pub(crate) fn spawn_plain(name: &'static CStr, f: Box<dyn FnMut() + Send>) -> io::Result<()> {
    let task = Box::into_raw(Box::new(Task(name, f)));
    let result = with_stack(STACK, |attributes| {
        let mut thread = MaybeUninit::uninit();
        // SAFETY: the attributes are valid, and what `run` is given is its own.
        unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, run, task.cast()) }
    });
    if result.is_err() {
        // SAFETY: it comes from a box, and there is no thread that it was given to.
        drop(unsafe { Box::from_raw(task) });
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
    // Or what is left of it would stay.
    // SAFETY: they have been initialised.
    let detached = check(unsafe {
        libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED)
    });
    let result = sized.and(detached).and_then(|()| check(f(attributes)));
    // SAFETY: they have been initialised, and a thread does not need them once it is made.
    unsafe { libc::pthread_attr_destroy(attributes) };
    result
}

extern "C" fn run(task: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: it is the box of `spawn_plain`, given to this thread alone. It is not taken apart before
    // the end: to free a part of it, this thread would need a heap.
    let mut task = unsafe { Box::from_raw(task.cast::<Task>()) };
    // Without a name it does as well.
    let _ = rustix::thread::set_name(task.0);
    (task.1)();
    std::ptr::null_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_under_its_name() -> io::Result<()> {
        let (tell, told) = std::sync::mpsc::channel();
        let task = move || {
            let _ = tell.send(rustix::thread::name());
        };
        spawn_plain(c"daemonocle-test", Box::new(task))?;
        assert_eq!(told.recv().ok().transpose()?.as_deref(), Some(c"daemonocle-test"));
        Ok(())
    }
}
