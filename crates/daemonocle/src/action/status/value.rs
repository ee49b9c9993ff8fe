//! Answers, in the shapes that psutil gives them.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, btree_map};

use super::Field;

/// The value of a [`Field`].
///
/// ```
/// use daemonocle::Value;
/// fn first(value: &Value) -> Option<&Value> {
///     match value {
///         Value::List(items) => items.first(),
///         _ => None,
///     }
/// }
/// let threads = Value::List(vec![Value::Integer(1234), Value::Float(0.5), Value::Null]);
/// assert_eq!(first(&threads), Some(&Value::Integer(1234)));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// There is none, or the caller may not know it.
    Null,
    /// A number, a count, bytes.
    Integer(i64),
    /// Seconds, percent.
    Float(f64),
    /// A text. What was not UTF-8 has become U+FFFD.
    Text(String),
    /// Several values, or the items of a tuple.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Whether it is [`Value::Null`].
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A float with three decimals, as the original rounds.
    pub(super) fn rounded(value: f64) -> Self {
        Self::Float((value * 1000.0).round() / 1000.0)
    }

    pub(super) fn list<T: Into<Self>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

macro_rules! from_integers {
    ($($integer:ty)+) => {
        $(impl From<$integer> for Value {
            fn from(number: $integer) -> Self {
                // Nothing that is counted here gets near the limit.
                Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
            }
        })+
    };
}

from_integers!(i32 i64 u16 u32 u64 usize);

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// What is known of a running daemon: a value for each [`Field`] that was asked for.
///
/// ```no_run
/// use daemonocle::{Daemon, Field, Value};
/// let daemon = Daemon::new("example").pid_file("/tmp/example.pid");
/// if let Some(details) = daemon.status_of(&[Field::NumFds, Field::NumThreads])? {
///     if let Some(Value::Integer(count)) = details.get(Field::NumThreads) {
///         println!("it has {count} threads");
///     }
///     for (field, value) in &details {
///         println!("{field}: {value:?}");
///     }
/// }
/// # Ok::<(), daemonocle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Details(pub(super) BTreeMap<Field, Value>);

impl Details {
    /// The value of a field; `None` if it was not asked for.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&Value> {
        self.0.get(&field)
    }

    /// All fields that were asked for, in the order of their names.
    #[must_use]
    pub fn iter(&self) -> DetailsIter<'_> {
        DetailsIter(self.0.iter())
    }
}

impl<'a> IntoIterator for &'a Details {
    type Item = (Field, &'a Value);
    type IntoIter = DetailsIter<'a>;

    fn into_iter(self) -> DetailsIter<'a> {
        self.iter()
    }
}

/// What [`Details::iter`] goes through.
#[derive(Clone, Debug)]
pub struct DetailsIter<'a>(btree_map::Iter<'a, Field, Value>);

impl<'a> Iterator for DetailsIter<'a> {
    type Item = (Field, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(field, value)| (*field, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for DetailsIter<'_> {}
