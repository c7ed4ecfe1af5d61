//! Numbers as people read them: thousands separators, fixed decimals, a unit behind.
//!
//! Rounding is to the nearest, ties to even on the binary value, as in C and Python formatting.

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberFormat {
    /// Digits behind the decimal point.
    pub decimals: u8,
    /// Unit, with the space before it where one belongs.
    pub suffix: &'static str,
}

impl NumberFormat {
    /// Whole numbers without a unit.
    pub const COUNT: Self = Self {
        decimals: 0,
        suffix: "",
    };
    /// Whole percent.
    pub const PERCENT: Self = Self {
        decimals: 0,
        suffix: "%",
    };
    /// Tokens per second, whole.
    pub const THROUGHPUT: Self = Self {
        decimals: 0,
        suffix: " tok/s",
    };
    /// Tokens per second of one request.
    pub const SPEED: Self = Self {
        decimals: 1,
        suffix: " tok/s",
    };
    /// Seconds to the millisecond.
    pub const SECONDS: Self = Self {
        decimals: 3,
        suffix: "s",
    };
    /// Milliseconds.
    pub const MILLISECONDS: Self = Self {
        decimals: 2,
        suffix: " ms",
    };
    /// A ratio.
    pub const TIMES: Self = Self {
        decimals: 2,
        suffix: "x",
    };

    /// The value with its unit.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        format!("{}{}", fixed(value, self.decimals), self.suffix)
    }

    /// The value, or a dash where there is none.
    #[must_use]
    pub fn show_option(self, value: Option<f64>) -> String {
        value.map_or_else(|| "–".to_owned(), |v| self.show(v))
    }
}

/// A number with thousands separators and this many decimals; `–` if it is not finite.
#[must_use]
pub fn fixed(value: f64, decimals: u8) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.*}", usize::from(decimals), value);
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = digits
        .split_once('.')
        .map_or((digits, None), |(w, f)| (w, Some(f)));
    let is_zero = digits.bytes().all(|b| b == b'0' || b == b'.');
    let mut out = String::with_capacity(text.len() + whole.len() / 3 + 1);
    if !is_zero {
        out.push_str(sign);
    }
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// Names that are shown where there are many.
const SHOWN: usize = 4;

/// The first few of `n` names: `a; b; c; d; and 3 more`.
#[must_use]
pub fn some_of(names: impl Iterator<Item = String>, n: u64) -> String {
    let mut shown: Vec<String> = names.take(SHOWN).collect();
    let more = n.saturating_sub(SHOWN as u64);
    if more > 0 {
        shown.push(format!("and {} more", count(more)));
    }
    shown.join("; ")
}

/// A count with thousands separators.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{NumberFormat, count, fixed};

    #[test]
    fn numbers_carry_thousands_separators_and_fixed_decimals() {
        for (value, decimals, expected) in [
            (0.0, 0, "0"),
            (999.4, 0, "999"),
            (1000.0, 0, "1,000"),
            (1_234_567.891, 2, "1,234,567.89"),
            (-1234.5, 1, "-1,234.5"),
            (-0.0001, 2, "0.00"),
            (0.125, 2, "0.12"),
            (f64::NAN, 1, "–"),
            (f64::INFINITY, 1, "–"),
        ] {
            assert_eq!(fixed(value, decimals), expected);
        }
        assert_eq!(count(0), "0");
        assert_eq!(count(123), "123");
        assert_eq!(count(25_519_000), "25,519,000");
        assert_eq!(NumberFormat::SECONDS.show(0.0522), "0.052s");
        assert_eq!(NumberFormat::THROUGHPUT.show(25_519.06), "25,519 tok/s");
    }
}
