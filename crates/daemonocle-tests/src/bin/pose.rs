//! Holds the locks of a daemon on a file that may be none of its: `pose FILE PID_FILE COMMAND...`
//! locks FILE as the daemon of PID_FILE would, and becomes COMMAND, which inherits the file and so
//! the locks.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use daemonocle_tests::{LIFE, Lock, PROGRAMS, STAYING, places};

fn main() {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let file = File::options().read(true).write(true).open(&words[0]).unwrap();
    // As the keeper of a program with this PID, perhaps.
    let program =
        std::env::var("POSE_KEEPS").ok().map(|pid| PROGRAMS + pid.parse::<i64>().unwrap());
    let bytes = [&[LIFE, STAYING][..], &places(words[1].as_ref())].concat();
    for byte in bytes.into_iter().chain(program) {
        Lock::Own.take(&file, byte..byte + 1);
    }
    // SAFETY: the descriptor is open; its copy is not closed on exec.
    assert!(unsafe { libc::dup(file.as_raw_fd()) } >= 0);
    // Closing any descriptor of the file drops the locks, and this one would be closed.
    // SAFETY: the descriptor is open, and takes no flags.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) }, 0);
    panic!("{}", Command::new(&words[2]).args(&words[3..]).exec());
}
