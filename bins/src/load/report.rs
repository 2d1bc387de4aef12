//! `Report`: what a run has found, for people and for programs.

use std::fmt;

use serde_json::{Map, Value, json};

pub(super) struct Report {
    mode: &'static str,
    rows: Vec<(&'static str, Value, &'static str)>,
}

/// The middle, the tail and the end of some times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread {
    pub p50: u32,
    pub p99: u32,
    pub(super) max: u32,
}

impl Report {
    pub(super) fn new(mode: &'static str) -> Report {
        Report { mode, rows: Vec::new() }
    }

    /// A count or a word.
    pub(super) fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.rows.push((name, value.into(), ""));
    }

    /// A measure, rounded to four digits.
    pub(super) fn measure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.rows.push((name, json!(rounded(value)), unit));
    }

    /// Microseconds, shown in milliseconds.
    pub(super) fn spread(&mut self, name: &'static str, spread: Spread) {
        let ms = |us: u32| rounded(f64::from(us) / 1000.0);
        self.rows.push((
            name,
            json!({ "p50": ms(spread.p50), "p99": ms(spread.p99), "max": ms(spread.max) }),
            "ms",
        ));
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, value, _)| ((*name).to_owned(), value.clone()));
        let mode = std::iter::once(("mode".to_owned(), json!(self.mode)));
        Value::Object(mode.chain(rows).collect::<Map<_, _>>())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.mode)?;
        for (name, value, unit) in &self.rows {
            let value = match value {
                Value::Object(parts) => {
                    let parts: Vec<String> =
                        parts.iter().map(|(name, value)| format!("{name} {value}")).collect();
                    parts.join(", ")
                }
                Value::String(text) => text.clone(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
            };
            writeln!(
                f,
                "  {:<34} {value}{}{unit}",
                name.replace('_', " "),
                if unit.is_empty() { "" } else { " " }
            )?;
        }
        Ok(())
    }
}

impl Spread {
    /// Of times in microseconds, in any order.
    pub(super) fn of(times: &mut [u32]) -> Spread {
        times.sort_unstable();
        let at = |share: f64| {
            times.get(((times.len().saturating_sub(1)) as f64 * share) as usize).copied().unwrap_or(0)
        };
        Spread { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// Four significant digits: more would promise more than a run can know.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits.clamp(0, 12));
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_keep_four_digits() {
        for (value, shown) in
            [(0.123_456, 0.1235), (1234.567, 1235.0), (98_765.4, 98_765.0), (0.0, 0.0), (f64::NAN, 0.0)]
        {
            assert_eq!(rounded(value), shown);
        }
    }

    #[test]
    fn a_spread_is_taken_from_sorted_times() {
        let mut times: Vec<u32> = (1..=101).rev().collect();
        assert_eq!(Spread::of(&mut times), Spread { p50: 51, p99: 100, max: 101 });
        assert_eq!(Spread::of(&mut []), Spread::default());
    }
}
