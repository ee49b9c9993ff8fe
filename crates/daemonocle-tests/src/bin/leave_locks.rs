//! Locks a PID file and ends, but for a process with which it shares its descriptors, and so its
//! locks: they stay, under the number of somebody who is gone.
//!
//! `leave_locks FILE LOCK...` makes the file if it is missing, takes the locks `claim`, and `life` with
//! those of the place, as a daemon does, or one of them, and prints its number. The place may be that of
//! another file, `LEAVE_FOR`.

use std::fs::File;

use daemonocle_tests::{CLAIM, LIFE, Lock, STAYING, places};

fn main() -> ! {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().expect("no file is given");
    let options = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let file = options.unwrap();
    for name in arguments {
        match name.to_str() {
            Some("claim") => Lock::Write.take(&file, CLAIM..CLAIM + 1),
            Some("life") => {
                let of = std::env::var_os("LEAVE_FOR").unwrap_or_else(|| path.clone());
                for byte in [&[LIFE, STAYING][..], &places(of.as_ref())].concat() {
                    Lock::Own.take(&file, byte..byte + 1);
                }
            }
            _ => panic!("unknown lock {name:?}"),
        }
    }
    println!("{}", std::process::id());
    let flags = libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: without a stack of its own and without CLONE_VM the call is a fork(2), of a process
    // with one thread; the child only makes system calls.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    assert!(child >= 0, "clone: {}", std::io::Error::last_os_error());
    if child == 0 {
        loop {
            // SAFETY: takes nothing; returns after a signal.
            unsafe { libc::pause() };
        }
    }
    for number in 0..3 {
        // SAFETY: whoever waits for the output of this program must not wait for the child.
        unsafe { libc::close(number) };
    }
    // SAFETY: nothing has to be done before the end.
    unsafe { libc::_exit(0) }
}
