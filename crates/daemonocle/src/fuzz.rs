//! Parsers of what others have written, tried with what nobody would write: seeds from `corpus/`, changed at
//! random. A test says what must be true of each.
//!
//! Every run of the tests tries a few thousand inputs for each parser, and always the same ones.
//! `DAEMONOCLE_FUZZ=1000000 cargo test -p daemonocle --lib --all-features fuzz_ -- --nocapture` tries that
//! many, and other ones where `DAEMONOCLE_FUZZ_SEED` says another number.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How many inputs each parser gets, unless the variable says otherwise.
const FEW: u64 = 3000;

/// Tries a parser. It panics where something is not as it must be.
#[expect(clippy::print_stdout, reason = "how much was tried is for who asks for more")]
pub(crate) fn hold(corpus: &str, mut parser: impl FnMut(&[u8])) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("DAEMONOCLE_FUZZ").unwrap_or(FEW);
    let mut chance = Chance(number("DAEMONOCLE_FUZZ_SEED").unwrap_or(0) ^ 0x9e37_79b9_7f4a_7c15);
    let seeds = seeds(corpus);
    let mut attempt = |input: &[u8]| {
        let held = catch_unwind(AssertUnwindSafe(|| parser(input)));
        assert!(held.is_ok(), "{corpus}: {}", input.escape_ascii());
    };
    seeds.iter().for_each(|seed| attempt(seed));
    for _ in 0..count {
        let mut input = chance.pick(&seeds).clone();
        for _ in 0..=chance.below(4) {
            chance.change(&mut input, &seeds);
        }
        attempt(&input);
    }
    println!("fuzz: {corpus}: {count} inputs from {} seeds", seeds.len());
}

/// As [`hold`], of a parser of texts.
pub(crate) fn hold_text(corpus: &str, mut parser: impl FnMut(&str)) {
    hold(corpus, |bytes| parser(&String::from_utf8_lossy(bytes)));
}

fn seeds(corpus: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(corpus);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", dir.display());
    paths.iter().map(|path| fs::read(path).unwrap_or_default()).collect()
}

/// Numbers by chance: xorshift64*.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// From 0 to below `end`, which must not be 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A part of it, maybe an empty one.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let begin = self.below(length + 1);
        begin..begin + self.below(length - begin + 1)
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        /// What parsers stumble over.
        const ODD: [&[u8]; 20] = [
            b"",
            b"\0",
            b"\n",
            b"\r\n",
            b" ",
            b"\t",
            b"-",
            b"-1",
            b"+1",
            b"0",
            b"00",
            b"0x10",
            b"2147483648",
            b"4294967296",
            b"18446744073709551616",
            b"1e309",
            b"\xff\xfe",
            b"\xd9\xa1",
            b")",
            "\u{202e}\u{1b}".as_bytes(),
        ];
        let part = self.part(input.len());
        match self.below(7) {
            // Something odd in the place of a part, or of nothing.
            0 => drop(input.splice(part, self.pick(&ODD).iter().copied())),
            1 => {
                let place = part.start;
                input.splice(place..place, self.pick(&ODD).iter().copied());
            }
            2 => drop(input.drain(part)),
            // Once more.
            3 => {
                let again = input[part.clone()].to_vec();
                input.splice(part.end..part.end, again);
            }
            4 => {
                let other = self.pick(seeds);
                let its = self.part(other.len());
                input.splice(part, other[its].iter().copied());
            }
            5 => {
                if let Some(byte) = input.get_mut(part.start) {
                    *byte ^= 1 << self.below(8);
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(part.start) {
                    *byte = self.next() as u8;
                }
            }
        }
        input.truncate(1 << 16);
    }
}
