//! The memory of a process by what is mapped there.

use std::io;

use super::{Entry, without_mark};

/// What is counted of each mapping, in this order.
const MEMORY_KINDS: [&str; 10] = [
    "Rss",
    "Size",
    "Pss",
    "Shared_Clean",
    "Shared_Dirty",
    "Private_Clean",
    "Private_Dirty",
    "Referenced",
    "Anonymous",
    "Swap",
];

/// All mappings of one file, or of one kind, and their memory in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The path of the file, or a name in brackets.
    pub(crate) path: String,
    /// Rss, Size, Pss, Shared_Clean, Shared_Dirty, Private_Clean, Private_Dirty, Referenced,
    /// Anonymous, Swap: the keys of /proc/PID/smaps, proc(5).
    pub(crate) bytes: [u64; MEMORY_KINDS.len()],
}

impl Entry {
    /// Bytes that are nobody else's (USS), the proportional share (PSS), and swapped out.
    pub(crate) fn shares(&self) -> io::Result<[u64; 3]> {
        Ok(parse_shares(&self.read("smaps_rollup")?))
    }

    /// What is mapped, in the order of the first address of each.
    pub(crate) fn mappings(&self) -> io::Result<Vec<Mapping>> {
        let mut all = parse_mappings(&self.read("smaps")?);
        for mapping in &mut all {
            mapping.path.truncate(without_mark(&mapping.path).len());
        }
        Ok(together(all))
    }
}

/// The number of a line `Key:    12 kB`, in bytes.
fn bytes(rest: &str) -> u64 {
    let kib = rest.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn parse_shares(rollup: &str) -> [u64; 3] {
    let (mut own, mut share, mut swapped) = (0_u64, 0, 0);
    for (key, rest) in rollup.lines().filter_map(|line| line.split_once(':')) {
        match key {
            "Pss" => share = bytes(rest),
            "Swap" => swapped = bytes(rest),
            _ if key.starts_with("Private_") => own = own.saturating_add(bytes(rest)),
            _ => {}
        }
    }
    [own, share, swapped]
}

/// One for each line that begins with a range of addresses.
fn parse_mappings(smaps: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word.strip_suffix(':'), mappings.last_mut()) {
            (None, _) => mappings.push(Mapping { path: parse_path(rest), bytes: [0; 10] }),
            (Some(key), Some(mapping)) => {
                if let Some(index) = MEMORY_KINDS.iter().position(|kind| *kind == key) {
                    mapping.bytes[index] = bytes(rest);
                }
            }
            // Nothing has been begun yet.
            (Some(_), None) => {}
        }
    }
    mappings
}

/// What follows "r--p 00000000 fe:00 1234" and spaces; it may have spaces itself.
fn parse_path(mut rest: &str) -> String {
    for _ in 0..4 {
        rest = rest.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
    }
    match rest.trim() {
        "" => "[anon]".to_owned(),
        path => path.to_owned(),
    }
}

fn together(all: Vec<Mapping>) -> Vec<Mapping> {
    let mut grouped: Vec<Mapping> = Vec::new();
    // Their places, in the order of their paths.
    let mut known: Vec<usize> = Vec::new();
    for mapping in all {
        let path_at = |place: &usize| grouped.get(*place).map_or("", |known| &*known.path);
        match known.binary_search_by(|place| path_at(place).cmp(&mapping.path)) {
            Ok(place) => {
                if let Some(sum) = known.get(place).and_then(|place| grouped.get_mut(*place)) {
                    for (sum, bytes) in sum.bytes.iter_mut().zip(mapping.bytes) {
                        *sum = sum.saturating_add(bytes);
                    }
                }
            }
            Err(place) => {
                known.insert(place, grouped.len());
                grouped.push(mapping);
            }
        }
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55e4c8a00000-55e4c8a21000 r--p 00000000 fe:00 1234                       /a b/c
Size:                  8 kB
Rss:                   4 kB
Swap:                  1 kB
SwapPss:               9 kB
VmFlags: rd mr mw me
55e4c8b00000-55e4c8b21000 rw-p 00000000 00:00 0 
Rss:                   2 kB
55e4c8c00000-55e4c8c21000 r-xp 00001000 fe:00 1234                       /a b/c
Rss:                   3 kB
Private_Dirty:        12 kB
";

    #[test]
    fn mappings_of_one_file_are_one() {
        let mappings = together(parse_mappings(SMAPS));
        let kib = |sizes: [u64; 10]| sizes.map(|size| size * 1024);
        let expected = [
            Mapping { path: "/a b/c".into(), bytes: kib([7, 8, 0, 0, 0, 0, 12, 0, 0, 1]) },
            Mapping { path: "[anon]".into(), bytes: kib([2, 0, 0, 0, 0, 0, 0, 0, 0, 0]) },
        ];
        assert_eq!(mappings, expected);
    }

    #[test]
    fn private_memory_is_summed() {
        let text = "0-1 ---p 00000000 00:00 0  [rollup]\nRss: 9 kB\nPss: 5 kB\nPss_Dirty: 4 kB\n\
                    Private_Clean: 1 kB\nPrivate_Dirty: 2 kB\nPrivate_Hugetlb: 4 kB\nSwap: 6 kB\n\
                    SwapPss: 7 kB\n";
        assert_eq!(parse_shares(text), [7 * 1024, 5 * 1024, 6 * 1024]);
        assert_eq!(parse_shares(""), [0; 3]);
    }

    #[test]
    fn every_prefix_is_parsed() {
        for end in 0..=SMAPS.len() {
            let _ = together(parse_mappings(&SMAPS[..end]));
        }
        assert_eq!(parse_mappings("Rss: 4 kB\n"), []);
        assert_eq!(bytes(" 99999999999999999999 kB"), 0);
    }

    #[test]
    fn fuzz_mappings() {
        crate::fuzz::hold_text("smaps", |text| {
            let all = parse_mappings(text);
            assert!(together(all).iter().all(|mapping| !mapping.path.is_empty()));
            let _ = parse_shares(text);
        });
    }
}
