//! Answers as a line of JSON, RFC 8259: keys sorted, a space after every `:` and `,`, ASCII only, as
//! the original writes it.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use crate::action::{Details, Status, Value};

/// That there is no status.
pub(super) fn not_running(name: &str) -> String {
    object([("name", quoted(name)), ("status", quoted("dead"))])
}

/// That it could not be told.
pub(super) fn unknown(name: &str) -> String {
    object([("name", quoted(name)), ("status", quoted("unknown"))])
}

/// The status.
pub(super) fn status(name: &str, status: &Status) -> String {
    let Status { pid, state, uptime, cpu_percent, memory_percent, .. } = status;
    let rounded = |value: f64| number((value * 1000.0).round() / 1000.0);
    object([
        ("cpu_percent", rounded(*cpu_percent)),
        ("memory_percent", rounded(*memory_percent)),
        ("name", quoted(name)),
        ("pid", pid.to_string()),
        ("status", quoted(state)),
        ("uptime", rounded(uptime.as_secs_f64())),
    ])
}

/// Fields, which are sorted by name as they are.
pub(super) fn details(details: &Details) -> String {
    object(details.iter().map(|(field, found)| (field.name(), value(found))))
}

/// A list of answers, each on a line of its own.
pub(super) fn list(lines: &[String]) -> String {
    let items: Vec<_> = lines.iter().map(|line| format!("  {}", line.trim_end())).collect();
    format!("[\n{}\n]\n", items.join(",\n"))
}

fn object<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    enclosed('{', pairs.into_iter().map(|(key, value)| format!("{}: {value}", quoted(key))), '}')
        + "\n"
}

/// One value, without an end of line.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => number(*float),
        Value::Text(text) => quoted(text),
        Value::List(items) => enclosed('[', items.iter().map(self::value), ']'),
        Value::Map(pairs) => {
            let pair =
                |(key, item): (&String, &Value)| format!("{}: {}", quoted(key), self::value(item));
            enclosed('{', pairs.iter().map(pair), '}')
        }
    }
}

fn enclosed(open: char, parts: impl Iterator<Item = String>, close: char) -> String {
    let mut text = String::from(open);
    for (index, part) in parts.enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&part);
    }
    text.push(close);
    text
}

/// A number that is seen to be no integer. There is none for infinity, nor for what is no number.
fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:?}") } else { "null".to_owned() }
}

/// A string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut units = [0; 2];
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(character),
            _ => {
                for unit in character.encode_utf16(&mut units) {
                    // Writing to a string cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("a\"b\\c\u{e9}\u{1f600}\n"), r#""a\"b\\c\u00e9\ud83d\ude00\u000a""#);
    }

    #[test]
    fn a_list_has_a_line_for_each() {
        let lines = ["a", "b"].map(not_running);
        let text = "[\n  {\"name\": \"a\", \"status\": \"dead\"},\n  {\"name\": \"b\", \"status\": \"dead\"}\n]\n";
        assert_eq!(list(&lines), text);
    }

    #[test]
    fn every_shape_has_its_form() {
        let items = vec![Value::Integer(-1), Value::Float(1.0), Value::List(Vec::new())];
        let pairs = [("b", Value::List(items)), ("a", Value::Null), ("c\"", "x".into())];
        let map = BTreeMap::from(pairs.map(|(key, value)| (key.to_owned(), value)));
        let expected = r#"{"a": null, "b": [-1, 1.0, []], "c\"": "x"}"#;
        assert_eq!(value(&Value::Map(map)), expected);
        assert_eq!(value(&Value::Float(f64::NAN)), "null");
        assert_eq!(value(&Value::Float(1_795_387_856.71)), "1795387856.71");
    }

    #[test]
    fn fuzz_strings() {
        crate::fuzz::hold_text("words", |text| {
            let quoted = quoted(text);
            assert!(quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            // What has been escaped comes back as it was.
            let mut units = Vec::new();
            let mut rest = quoted.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            while let Some(first) = rest.chars().next() {
                let (unit, length) = match (first, rest.as_bytes().get(1)) {
                    ('\\', Some(b'u')) => (u16::from_str_radix(&rest[2..6], 16).unwrap(), 6),
                    ('\\', Some(escaped)) => (u16::from(*escaped), 2),
                    (other, _) => (other as u16, 1),
                };
                units.push(unit);
                rest = &rest[length..];
            }
            assert_eq!(String::from_utf16(&units).unwrap(), text);
        });
    }
}
