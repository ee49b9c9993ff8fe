//! The text in a PID file. It may have been written by anybody.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::sys::process::Pid;
use crate::sys::retry;

/// The longest text that can be a PID: more than any number and its line end.
const LONGEST: usize = 16;

/// The PID in the file, if its text is one.
pub(super) fn pid(file: &File) -> io::Result<Option<Pid>> {
    Ok(parse(&read(file)?))
}

/// Whether there are contents, and they are not a PID.
pub(super) fn are_broken(file: &File) -> io::Result<bool> {
    let text = read(file)?;
    Ok(!text.is_empty() && parse(&text).is_none())
}

/// Whether there are no contents at all.
pub(super) fn are_absent(file: &File) -> io::Result<bool> {
    Ok(read(file)?.is_empty())
}

/// At most `LONGEST` bytes, however large the file is.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = [0; LONGEST];
    let mut length = 0;
    while length < buffer.len() {
        match retry(|| file.read_at(&mut buffer[length..], length as u64))? {
            0 => break,
            count => length += count,
        }
    }
    Ok(buffer[..length].to_vec())
}

/// Decimal digits, white space around them allowed, nothing else.
fn parse(text: &[u8]) -> Option<Pid> {
    if text.len() >= LONGEST {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Pid::new(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_positive_numbers_are_pids() {
        let pid = |text: &[u8]| parse(text).map(Pid::get);
        assert_eq!(pid(b"1234\n"), Some(1234));
        assert_eq!(pid(b" 7 "), Some(7));
        for bad in [
            &b""[..],
            b"\n",
            b"0",
            b"-1",
            b"+1",
            b"1 2",
            b"12x",
            b"2147483648",
            b"\xff\xfe",
            b"0x10",
            b"1\0",
            b"00000000000000000001",
            b"\xd9\xa1",
        ] {
            assert_eq!(pid(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn fuzz_pids() {
        crate::fuzz::hold("pid_file", |text| {
            let digits = text.trim_ascii();
            let is_number = digits.iter().all(u8::is_ascii_digit) && text.len() < LONGEST;
            let value = digits.iter().try_fold(0_i64, |sum, digit| {
                sum.checked_mul(10)?.checked_add(i64::from(digit.wrapping_sub(b'0')))
            });
            let expected = value.filter(|value| is_number && (1..1 << 31).contains(value));
            assert_eq!(parse(text).map(|pid| i64::from(pid.get())), expected);
        });
    }
}
