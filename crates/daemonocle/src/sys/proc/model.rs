//! What lines, words and numbers are, for the models that parsers of /proc are compared with: byte by byte,
//! and with nothing of what the parsers use.

use std::ops::RangeInclusive;

pub(in crate::sys) fn lines(text: &str) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = &rest[..end.unwrap_or(rest.len())];
        let is_crlf = end.is_some() && line.last() == Some(&b'\r');
        lines.push(&line[..line.len() - usize::from(is_crlf)]);
        rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
    }
    lines
}

pub(in crate::sys) fn words(line: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let mut begin = None;
    for (place, byte) in line.iter().enumerate() {
        let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\x0c' | b'\r');
        match begin {
            None if !is_space => begin = Some(place),
            Some(first) if is_space => {
                words.push(&line[first..place]);
                begin = None;
            }
            _ => {}
        }
    }
    words.extend(begin.map(|first| &line[first..]));
    words
}

/// The words of the first line with this at its beginning, which is not among them.
pub(in crate::sys) fn words_after<'a>(text: &'a str, key: &str) -> Option<Vec<&'a [u8]>> {
    let keyed = |line: &&[u8]| line.len() >= key.len() && &line[..key.len()] == key.as_bytes();
    Some(words(&lines(text).into_iter().find(keyed)?[key.len()..]))
}

/// A number of this range; a sign stands before one of a range that has negative ones, or is a plus.
pub(in crate::sys) fn number(word: &[u8], base: i128, range: RangeInclusive<i128>) -> Option<i128> {
    let (sign, digits) = match word {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] if *range.start() < 0 => (-1, digits),
        digits => (1, digits),
    };
    let mut value = 0;
    for byte in digits {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        value = value * base + i128::from(digit);
        if i128::from(digit) >= base || value > 1 << 64 {
            return None;
        }
    }
    Some(sign * value).filter(|value| !digits.is_empty() && range.contains(value))
}

pub(in crate::sys) fn number_u64(word: &[u8]) -> Option<u64> {
    number(word, 10, 0..=u64::MAX.into())?.try_into().ok()
}

pub(in crate::sys) fn number_i64(word: &[u8]) -> Option<i64> {
    number(word, 10, i64::MIN.into()..=i64::MAX.into())?.try_into().ok()
}
