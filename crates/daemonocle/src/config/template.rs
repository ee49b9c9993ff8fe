//! Names and paths with a place for the number of a worker: `worker_{n:04}`.
//!
//! The parser is total: whatever comes in, a text or an error comes out, and nothing of more than
//! [`WIDEST`] for a place.

#![forbid(unsafe_code)]

/// The widest that a number may be asked for, which is the longest name that a file can have.
pub(crate) const WIDEST: usize = 255;

/// What is wrong with a template: the text from its opening brace on, or its closing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong<'a>(pub(crate) &'a [u8]);

/// Whether there is a place for the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One and the same for all workers.
    Shared,
    /// Another one for each worker.
    Own,
}

/// Puts `number` into all places of a template: `{n}`, or `{n:4}` filled up with spaces on the left, or
/// `{n:04}` with zeros. Two braces mean one.
pub(crate) fn fill(template: &[u8], number: u32) -> Result<(Vec<u8>, Kind), Wrong<'_>> {
    let mut text = Vec::with_capacity(template.len() + 8);
    let mut kind = Kind::Shared;
    let mut rest = template;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'{', [b'{', after @ ..]) | (b'}', [b'}', after @ ..]) => {
                text.push(byte);
                after
            }
            (b'{', _) => {
                let end = after.iter().position(|byte| *byte == b'}');
                let (inside, after) = match end {
                    Some(end) => (&after[..end], &after[end + 1..]),
                    None => return Err(Wrong(rest)),
                };
                let whole = &rest[..inside.len() + 2];
                let place = Place::parse(inside).ok_or(Wrong(whole))?;
                text.extend_from_slice(place.show(number).as_bytes());
                kind = Kind::Own;
                after
            }
            (b'}', _) => return Err(Wrong(&rest[..1])),
            _ => {
                text.push(byte);
                after
            }
        };
    }
    Ok((text, kind))
}

/// A place for a number.
struct Place {
    width: usize,
    is_zero_filled: bool,
}

impl Place {
    /// What is between the braces.
    fn parse(inside: &[u8]) -> Option<Self> {
        let format = match inside {
            b"n" => return Some(Self { width: 0, is_zero_filled: false }),
            [b'n', b':', format @ ..] => format,
            _ => return None,
        };
        let (is_zero_filled, digits) = match format {
            [b'0', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        // A sign is none of a width, and neither is a second zero.
        if !matches!(digits.first(), Some(b'1'..=b'9')) {
            return None;
        }
        let width = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (width <= WIDEST).then_some(Self { width, is_zero_filled })
    }

    fn show(&self, number: u32) -> String {
        let width = self.width;
        match self.is_zero_filled {
            true => format!("{number:0width$}"),
            false => format!("{number:width$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, number: u32) -> Option<String> {
        let (text, _) = fill(template.as_bytes(), number).ok()?;
        String::from_utf8(text).ok()
    }

    #[test]
    fn numbers_come_in_the_width_that_was_asked_for() {
        for (template, number, text) in [
            ("", 7, ""),
            ("worker", 7, "worker"),
            ("worker_{n}", 0, "worker_0"),
            ("{n:04}.pid", 7, "0007.pid"),
            ("{n:04}", 12345, "12345"),
            ("{n:4}|", 7, "   7|"),
            ("{n:1}", 42, "42"),
            ("{n:010}", u32::MAX, "4294967295"),
            ("{n}{n:02}{n}", 3, "3033"),
            ("{{n}} {n}", 3, "{n} 3"),
            ("{{{n}}}", 3, "{3}"),
            ("}}{{", 3, "}{"),
            ("é{n}中", 3, "é3中"),
        ] {
            assert_eq!(filled(template, number).as_deref(), Some(text), "{template}");
        }
        assert_eq!(filled("{n:255}", 1).map(|text| text.len()), Some(WIDEST));
    }

    #[test]
    fn what_is_wrong_is_shown() {
        for (template, wrong) in [
            ("a{", "{"),
            ("a}", "}"),
            ("a{n", "{n"),
            ("{}", "{}"),
            ("{ n}", "{ n}"),
            ("{N}", "{N}"),
            ("{m}x", "{m}"),
            ("{name}", "{name}"),
            ("{n:}", "{n:}"),
            ("{n:0}", "{n:0}"),
            ("{n:00}", "{n:00}"),
            ("{n:004}", "{n:004}"),
            ("{n:+4}", "{n:+4}"),
            ("{n:-4}", "{n:-4}"),
            ("{n:4d}", "{n:4d}"),
            ("{n:256}", "{n:256}"),
            ("{n:99999999999999999999999}", "{n:99999999999999999999999}"),
            ("{n:{n}}", "{n:{n}"),
            ("{n}}", "}"),
            ("{{n}", "}"),
        ] {
            assert_eq!(fill(template.as_bytes(), 0), Err(Wrong(wrong.as_bytes())), "{template}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let (text, kind) = fill(b"\xff{n}\xfe", 5).unwrap();
        assert_eq!((&*text, kind), (&b"\xff5\xfe"[..], Kind::Own));
        assert_eq!(fill(b"{\xff}", 5), Err(Wrong(b"{\xff}")));
    }

    /// Every text of these characters up to a length: none makes it panic, and what has a place for
    /// the number is another one for another number.
    #[test]
    fn it_is_total() {
        const CHARACTERS: &[u8] = b"{}n:04x";
        let mut texts = vec![Vec::new()];
        for length in 0..7 {
            let longest: Vec<_> =
                texts.iter().filter(|text| text.len() == length).cloned().collect();
            for text in longest {
                texts.extend(CHARACTERS.iter().map(|byte| [&*text, &[*byte]].concat()));
            }
        }
        for text in texts {
            if let Ok((first, kind)) = fill(&text, 3) {
                let (second, _) = fill(&text, 21).unwrap();
                assert_eq!(first != second, kind == Kind::Own, "{text:?}");
            }
        }
    }

    #[test]
    fn fuzz_templates() {
        crate::fuzz::hold("template", |template| {
            let Ok((first, kind)) = fill(template, 3) else { return };
            let (second, _) = fill(template, 21).unwrap();
            assert_eq!(first != second, kind == Kind::Own);
            // What has no place for a number any more comes out as it is, once its braces are doubled.
            let doubled: Vec<u8> = first
                .iter()
                .flat_map(|byte| vec![*byte; if b"{}".contains(byte) { 2 } else { 1 }])
                .collect();
            assert_eq!(fill(&doubled, 9), Ok((first, Kind::Shared)));
        });
    }
}
