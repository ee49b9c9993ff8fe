//! Processes that look like the daemon of a PID file that was deleted, each for a moment, one after the other: they
//! have its locks on files of their own.
//!
//! `come_and_go FILE`: the PID file that there is not; it goes on until it is killed.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::Duration;

use daemonocle_tests::{LIFE, Lock, STAYING, places};

/// Less than `status` takes to see how busy one is.
const LIFETIME: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_micros(500);

fn main() {
    let path = std::env::args_os().nth(1).expect("no file is given");
    let bytes = [&[LIFE, STAYING][..], &places(path.as_ref())].concat();
    // SAFETY: takes numbers. Nobody has to bury the children then.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    for number in (0..200).cycle() {
        // SAFETY: this process has one thread.
        if unsafe { libc::fork() } == 0 {
            let mut own = path.clone();
            own.push(format!(".{number}"));
            let mut file =
                File::options().create(true).truncate(false).write(true).open(own).unwrap();
            // An empty one is that of a daemon which ends.
            file.write_all(b"x\n").unwrap();
            for byte in &bytes {
                Lock::Own.take(&file, *byte..byte + 1);
            }
            thread::sleep(LIFETIME);
            return;
        }
        thread::sleep(PAUSE);
    }
}
