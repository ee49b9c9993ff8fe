//! Takes locks on a file and drops them again, for as long as it lives: the kernel's list of all locks is then
//! another one at every moment.
//!
//! `toggle_locks FILE COUNT` makes the file, and says `ready` when it has begun. It stays on the first processor,
//! whose locks are listed first.

use std::fs::File;

use daemonocle_tests::Lock;
use rustix::thread::{CpuSet, sched_setaffinity};

fn main() -> ! {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("no file is given");
    let count: i64 =
        arguments.next().and_then(|text| text.parse().ok()).expect("no count is given");
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).unwrap();
    let mut is_ready = false;
    loop {
        // They go with it.
        let file = File::create(&path).unwrap();
        // Not side by side: these would be one.
        for byte in (0..count).map(|number| 2 * number) {
            Lock::Write.take(&file, byte..byte + 1);
        }
        if !std::mem::replace(&mut is_ready, true) {
            println!("ready");
        }
    }
}
