//! Numbers as Python's `int()` and `float()` read them.
//!
//! Promise: what the originals accepted is accepted: signs, blanks around the number, single
//! underscores between digits. Refuses what no option can use: infinities and NaN.

use thiserror::Error;

/// Why a word is no whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IntError {
    /// Not decimal digits with an optional sign.
    #[error("not a whole number")]
    NotAnInteger,
    /// Beyond 127 bits.
    #[error("too large")]
    TooLarge,
}

/// Why a word is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FloatError {
    /// Not a decimal number.
    #[error("not a number")]
    NotANumber,
    /// `inf`, `nan`, or a number so large that it becomes infinite.
    #[error("not a finite number")]
    NotFinite,
}

/// Reads a whole number: `8000`, `-5`, `+1`, `1_000_000`.
///
/// # Errors
/// Anything else, such as `8k`, `1e3`, `0x10`, `1__0` or an empty word.
pub fn parse_int(text: &str) -> Result<i128, IntError> {
    let digits = without_underscores(text.trim()).ok_or(IntError::NotAnInteger)?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(IntError::NotAnInteger);
    }
    digits.parse().map_err(|_| IntError::TooLarge)
}

/// Reads a decimal number: `2`, `0.5`, `1e3`.
///
/// # Errors
/// Anything else, infinities and NaN included.
pub fn parse_float(text: &str) -> Result<f64, FloatError> {
    let plain = without_underscores(text.trim()).ok_or(FloatError::NotANumber)?;
    let value: f64 = plain.parse().map_err(|_| FloatError::NotANumber)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(FloatError::NotFinite)
    }
}

/// The word without its underscores, if each stands alone between two digits.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
    let well_placed = bytes
        .iter()
        .enumerate()
        .filter(|&(_, &b)| b == b'_')
        .all(|(i, _)| digit(i.checked_sub(1)) && digit(Some(i + 1)));
    well_placed.then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_numbers_as_python_reads_them() {
        let good = [
            ("8000", 8000),
            ("-5", -5),
            ("+1", 1),
            (" 7 ", 7),
            ("1_000", 1000),
            ("007", 7),
            ("-1_0", -10),
        ];
        for (text, value) in good {
            assert_eq!(parse_int(text), Ok(value), "{text}");
        }
        for text in [
            "", " ", "-", "8k", "1e3", "1.0", "0x10", "_1", "1_", "1__0", "1 0", "--1", "+-1", "١",
        ] {
            assert_eq!(parse_int(text), Err(IntError::NotAnInteger), "{text}");
        }
        assert_eq!(parse_int(&"9".repeat(40)), Err(IntError::TooLarge));
    }

    #[test]
    fn decimals_as_python_reads_them() {
        for (text, value) in [
            ("2", 2.0),
            ("0.5", 0.5),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("-1.5", -1.5),
            ("1_0.5", 10.5),
        ] {
            assert!((parse_float(text).unwrap() - value).abs() < 1e-12, "{text}");
        }
        for text in ["", "x", "1,5", "2s", "1__0", "1_.5"] {
            assert_eq!(parse_float(text), Err(FloatError::NotANumber), "{text}");
        }
        for text in ["inf", "-inf", "nan", "1e999"] {
            assert_eq!(parse_float(text), Err(FloatError::NotFinite), "{text}");
        }
    }

    proptest! {
        /// Underscores between digits, wherever they stand, never change the value.
        #[test]
        fn underscores_between_digits_change_nothing(n: i64, places in prop::collection::vec(any::<bool>(), 20)) {
            let plain = n.to_string();
            let mut spaced = String::new();
            for (i, c) in plain.chars().enumerate() {
                let between_digits = spaced.ends_with(|c: char| c.is_ascii_digit());
                if between_digits && places[i] {
                    spaced.push('_');
                }
                spaced.push(c);
            }
            prop_assert_eq!(parse_int(&spaced), Ok(i128::from(n)));
        }
    }
}
