//! Numbers as people read them: thousands separators, millions, bytes, spans of time.
//!
//! Promise: pure; an undefined value is written as `n/a` and never as 0 or NaN.

/// What stands for a value that is undefined.
pub const UNDEFINED: &str = "n/a";

/// A whole number with a comma between groups of three digits: `1,234,567`.
#[must_use]
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate rounded to a whole number, with separators; `n/a` where it is undefined.
#[must_use]
pub fn rounded(value: Option<f64>) -> String {
    match value {
        Some(v) if v.is_finite() => {
            let magnitude = v.abs().round();
            let sign = if v < 0.0 && magnitude > 0.0 { "-" } else { "" };
            // A float casts to the nearest u64; rates beyond 2^64 tokens/s do not occur.
            format!("{sign}{}", thousands(magnitude as u64))
        }
        _ => UNDEFINED.to_owned(),
    }
}

/// A value with a fixed number of decimals and a unit; `n/a` where it is undefined.
#[must_use]
pub fn fixed(value: Option<f64>, decimals: usize, unit: &str) -> String {
    match value {
        Some(v) if v.is_finite() => format!("{v:.decimals$}{unit}"),
        _ => UNDEFINED.to_owned(),
    }
}

/// A count in millions with two decimals: `3.30M`.
#[must_use]
pub fn millions(n: u64) -> String {
    format!("{:.2}M", n as f64 / 1e6)
}

/// Bytes in steps of 1024 with two decimals, as all tools print them: `46.88 MB`.
#[must_use]
pub fn human_bytes(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut value = bytes;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

/// A list as Python prints it: `[8000, 32000]`.
#[must_use]
pub fn bracketed<T: ToString>(items: &[T]) -> String {
    format!(
        "[{}]",
        items
            .iter()
            .map(T::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    )
}

/// A span of time as a clock shows it: `4:05`, `1:02:03`.
#[must_use]
pub fn clock(span: std::time::Duration) -> String {
    let secs = span.as_secs();
    let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{secs:02}")
    } else {
        format!("{minutes}:{secs:02}")
    }
}

/// Seconds without needless zeros: `60`, `2.5`.
#[must_use]
pub fn seconds(span: std::time::Duration) -> String {
    format!("{}", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Removing the separators gives the plain number back, and every group but the first has three digits.
        #[test]
        fn separators_change_nothing_but_the_look(n: u64) {
            let text = thousands(n);
            prop_assert_eq!(text.replace(',', ""), n.to_string());
            prop_assert!(text.split(',').skip(1).all(|group| group.len() == 3));
            prop_assert!((1..=3).contains(&text.split(',').next().unwrap().len()));
        }
    }

    #[test]
    fn rates_are_rounded_and_undefined_is_said_so() {
        assert_eq!(rounded(Some(13_732.6)), "13,733");
        assert_eq!(rounded(Some(-0.2)), "0");
        assert_eq!(rounded(Some(-1200.0)), "-1,200");
        assert_eq!(rounded(None), "n/a");
        assert_eq!(rounded(Some(f64::NAN)), "n/a");
        assert_eq!(fixed(Some(1.1206), 3, "s"), "1.121s");
        assert_eq!(fixed(None, 3, "s"), "n/a");
    }

    #[test]
    fn bytes_go_in_steps_of_1024() {
        // Spec 7.3: 8,000 tokens at 160,000 bytes, once and twice; 1,000 tokens at 49,152 bytes.
        assert_eq!(human_bytes(8_000.0 * 160_000.0), "1.19 GB");
        assert_eq!(human_bytes(8_000.0 * 320_000.0), "2.38 GB");
        assert_eq!(human_bytes(1_000.0 * 49_152.0), "46.88 MB");
        assert_eq!(human_bytes(0.0), "0.00 B");
        assert_eq!(human_bytes(1023.0), "1023.00 B");
        assert_eq!(human_bytes(1024f64.powi(6)), "1024.00 PB");
    }

    #[test]
    fn spans_and_lists() {
        assert_eq!(clock(Duration::from_secs(245)), "4:05");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(seconds(Duration::from_secs(60)), "60");
        assert_eq!(seconds(Duration::from_millis(2500)), "2.5");
        assert_eq!(bracketed(&[8000, 32000]), "[8000, 32000]");
        assert_eq!(millions(3_296_000), "3.30M");
    }
}
