//! Many figures as a few.

use std::time::Duration;

/// The middle one, and those that a tenth of all are below or above.
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub middle: f64,
    pub high: f64,
}

impl Spread {
    /// `None`: of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| values.get(values.len() * percent / 100).copied();
        Some(Self { low: at(10)?, middle: at(50)?, high: at(90)? })
    }
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// With as many digits as it deserves.
pub fn short(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
