//! How much memory there is, and how much of it a process has.

use std::io;

use super::{is_gone, read};
use crate::sys::machine::{self, page_size};
use crate::sys::process::Pid;

/// The memory of a process in bytes: its proportional share (PSS), or, where only its owner may
/// know that, its resident set, in which shared pages count in full.
pub(crate) fn of_process(pid: Pid) -> io::Result<u64> {
    match read(&format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) => {
            if let Some(bytes) = parse_bytes(&text, "Pss:") {
                return Ok(bytes);
            }
        }
        Err(error) if is_gone(&error) => return Err(error),
        Err(_) => {}
    }
    let text = read(&format!("/proc/{pid}/statm"))?;
    Ok(parse_resident(&text).unwrap_or(0).saturating_mul(page_size()))
}

/// The memory of the machine in bytes.
pub(crate) fn of_machine() -> io::Result<u64> {
    match read("/proc/meminfo") {
        Ok(text) => parse_bytes(&text, "MemTotal:")
            .ok_or_else(|| io::Error::other("no MemTotal in /proc/meminfo")),
        // A /proc of processes alone (`subset=pid`, proc(5)). In a container the other one may tell of its share.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(machine::memory()),
        Err(error) => Err(error),
    }
}

/// What the file tells in units of 1024.
fn parse_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// The resident set, in pages.
fn parse_resident(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::model;
    use super::*;

    #[test]
    fn fuzz_memory() {
        crate::fuzz::hold_text("memory", |text| {
            for key in ["Pss:", "MemTotal:", "MemFree:"] {
                let expected = model::words_after(text, key)
                    .and_then(|words| model::number_u64(words.first()?))
                    .map(|kib| (u128::from(kib) * 1024).min(u64::MAX.into()));
                assert_eq!(parse_bytes(text, key).map(u128::from), expected);
            }
            let resident =
                model::words(text.as_bytes()).get(1).and_then(|it| model::number_u64(it));
            assert_eq!(parse_resident(text), resident);
        });
    }
}
