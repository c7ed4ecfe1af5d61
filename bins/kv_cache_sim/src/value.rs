//! Values of options: read as Python reads numbers, refused in words that go on from "'…' is".

use std::error::Error;
use std::ops::{Bound, RangeBounds};
use std::str::FromStr;

use cli::argparse::{parse_float, parse_int};
use kvcalc::{KvBytes, Precision, TokenCount};
use sim::{FaultRule, StreamForm};

/// Why a value was refused.
pub type Refusal = Box<dyn Error + Send + Sync>;

/// A reader of whole numbers from the start of `range` on, by default 0, as far as the unsigned type `T` goes.
pub fn whole<T>(
    range: impl RangeBounds<i128> + Clone + Send + Sync + 'static,
) -> impl Fn(&str) -> Result<T, Refusal> + Clone + Send + Sync + 'static
where
    T: TryFrom<i128> + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = parse_int(text)?;
        let least = match range.start_bound() {
            Bound::Included(least) => *least,
            Bound::Excluded(_) | Bound::Unbounded => 0,
        };
        if number < least {
            return Err(format!("too small: at least {least} is needed").into());
        }
        T::try_from(number).map_err(|_| {
            let most = u128::MAX >> (u128::BITS as usize - 8 * size_of::<T>());
            format!("too large: at most {most} is possible").into()
        })
    }
}

/// A seed: any whole number of 64 bits, with a sign or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

/// Reads a seed.
///
/// # Errors
/// If it is no whole number, or has more than 64 bits.
pub fn seed(text: &str) -> Result<Seed, Refusal> {
    let number = parse_int(text)?;
    i64::try_from(number)
        .map(i64::cast_unsigned)
        .or_else(|_| u64::try_from(number))
        .map(Seed)
        .map_err(|_| "out of range: a seed has 64 bits".into())
}

/// Reads a number format of the KV cache.
///
/// # Errors
/// If there is none of this name.
pub fn precision(word: &str) -> Result<Precision, String> {
    Precision::parse(word).ok_or_else(|| {
        let words = Precision::ALL.map(Precision::word).join(", ");
        format!("none of {words}")
    })
}

/// Reads a fault.
///
/// # Errors
/// What is wrong with it.
pub fn fault(text: &str) -> Result<FaultRule, String> {
    text.parse().map_err(|error| format!("no fault: {error}"))
}

/// Reads a form of streams.
///
/// # Errors
/// What is wrong with it.
pub fn stream_form(text: &str) -> Result<StreamForm, String> {
    text.parse()
        .map_err(|error| format!("no stream form: {error}"))
}

/// `--latency`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// The modelled engine.
    Batching,
    /// First token after `first` seconds times the active requests, then one each `then` seconds.
    Linear {
        /// Seconds per active request.
        first: f64,
        /// Seconds between tokens.
        then: f64,
    },
    /// So many seconds per request.
    Fixed(f64),
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "none of batching, linear:A,B and fixed:T (seconds)".to_owned();
        match text.split_once(':') {
            None if text == "batching" => Ok(Self::Batching),
            Some(("linear", values)) => {
                let (first, then) = values.split_once(',').ok_or_else(wrong)?;
                Ok(Self::Linear {
                    first: seconds(first).ok_or_else(wrong)?,
                    then: seconds(then).ok_or_else(wrong)?,
                })
            }
            Some(("fixed", value)) => seconds(value).map(Self::Fixed).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }
}

/// A finite number of seconds that is not negative and fits a `Duration`.
fn seconds(text: &str) -> Option<f64> {
    parse_float(text).ok().filter(|s| (0.0..=1e9).contains(s))
}

/// How a tier's capacity was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// In tokens.
    Tokens(TokenCount),
    /// In bytes.
    Bytes(KvBytes),
}

impl FromStr for Capacity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "no tier: '{text}' is no capacity: give tokens (40000) or bytes with a unit (2GiB)"
            )
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "" => {
                let tokens = parse_int(digits).ok().and_then(|n| u64::try_from(n).ok());
                return tokens
                    .map(|n| Self::Tokens(TokenCount(n)))
                    .ok_or_else(wrong);
            }
            "B" => 1.0,
            "kB" => 1e3,
            "KiB" => 1024.0,
            "MB" => 1e6,
            "MiB" => 1024f64.powi(2),
            "GB" => 1e9,
            "GiB" => 1024f64.powi(3),
            "TB" => 1e12,
            "TiB" => 1024f64.powi(4),
            _ => return Err(wrong()),
        };
        // Beyond 2^53 bytes (9 PB) an f64 no longer counts single bytes; nobody has such a tier.
        parse_float(digits)
            .ok()
            .map(|number| number * factor)
            .filter(|bytes| (0.0..9e15).contains(bytes))
            .map(|bytes| Self::Bytes(KvBytes(bytes as u64)))
            .ok_or_else(wrong)
    }
}

/// `--tier`.
#[derive(Clone, Debug, PartialEq)]
pub struct TierSpec {
    /// Its name in metrics and truth.
    pub name: String,
    /// What it holds.
    pub capacity: Capacity,
    /// Bandwidth towards HBM in 10⁹ bytes per second.
    pub gigabytes_per_s: f64,
    /// Seconds before a load's first byte.
    pub latency_s: f64,
}

impl FromStr for TierSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let [name, capacity, speed, latency] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err("no tier: a tier is NAME:CAPACITY:GB_PER_S:LATENCY".to_owned());
        };
        if name.is_empty() {
            return Err("no tier: its name is missing".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            capacity: capacity.parse()?,
            gigabytes_per_s: seconds(speed)
                .ok_or_else(|| format!("no tier: '{speed}' is no bandwidth in GB/s"))?,
            latency_s: seconds(latency)
                .ok_or_else(|| format!("no tier: '{latency}' is no latency in seconds"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_carry_underscores_and_must_be_in_range() {
        let read = whole::<u64>(1..);
        assert_eq!(read("1_000_000").ok(), Some(1_000_000));
        for text in ["0", "-1", "1.5", "1e3", "", &"9".repeat(30)] {
            assert!(read(text).is_err(), "{text}");
        }
        let port = whole::<u16>(..);
        assert_eq!(port("65535").ok(), Some(65_535));
        assert_eq!(
            port("65536").unwrap_err().to_string(),
            "too large: at most 65535 is possible"
        );
        assert_eq!(
            port("-1").unwrap_err().to_string(),
            "too small: at least 0 is needed"
        );
    }

    #[test]
    fn a_seed_may_be_negative() {
        assert_eq!(seed("-1").ok(), Some(Seed(u64::MAX)));
        assert_eq!(seed(&u64::MAX.to_string()).ok(), Some(Seed(u64::MAX)));
        assert_eq!(seed("-5").ok(), Some(Seed(5_u64.wrapping_neg())));
        assert!(seed("18446744073709551616").is_err());
    }

    #[test]
    fn capacities_are_tokens_or_bytes_with_a_unit() {
        for (text, expected) in [
            ("40_000", Capacity::Tokens(TokenCount(40_000))),
            ("1.5GiB", Capacity::Bytes(KvBytes(3 << 29))),
            ("1MB", Capacity::Bytes(KvBytes(1_000_000))),
            ("7B", Capacity::Bytes(KvBytes(7))),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "GB", "1e3", "-4", "1.5", "40kilo", "9999TB"] {
            assert!(text.parse::<Capacity>().is_err(), "{text}");
        }
    }
}
