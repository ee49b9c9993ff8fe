//! Holds very many locks on files of its own: `hold_locks DIRECTORY BYTE FILES OTHERS [COPIES]` locks this byte
//! on each of so many files that it makes in the directory, and as many other bytes as OTHERS says, has so
//! many copies of each descriptor, says `ready`, and stays.

use std::fs::File;
use std::path::Path;

use daemonocle_tests::Lock;

fn main() -> ! {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, byte, files, others, copies @ ..] = &words[..] else {
        panic!("wrong arguments: {words:?}");
    };
    let copies: usize = copies.first().map_or(0, |copies| copies.parse().unwrap());
    let (byte, count): (i64, i64) = (byte.parse().unwrap(), others.parse().unwrap());
    let files: Vec<File> = (0..files.parse().unwrap())
        .map(|number: u32| File::create(Path::new(dir).join(number.to_string())).unwrap())
        .collect();
    for file in &files {
        Lock::Own.take(file, byte..byte + 1);
        // Neighbours would become one lock.
        for other in 0..count {
            Lock::Own.take(file, 2 * other..2 * other + 1);
        }
    }
    let twins = files.iter().flat_map(|file| (0..copies).map(|_| file.try_clone().unwrap()));
    let _twins: Vec<File> = twins.collect();
    println!("ready");
    loop {
        std::thread::park();
    }
}
