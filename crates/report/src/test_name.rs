//! What identifies a test inside a result directory.
//!
//! Promise: the text form is the one in `completed_tests` of `progress.json`, `<context>_<rate>`, or
//! `<context>_<working set>_<rate>` where a run varies the working set; nothing else is accepted.

use std::fmt;
use std::str::FromStr;

use metrics::health::HealthRow;
use metrics::{PeriodRow, PhaseRow, RequestIntent, SummaryRow};

/// One test: a context size, a hit rate and, where a run varies it, a working-set size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TestName {
    /// Context size as given on the command line, tokens.
    pub context_size: u64,
    /// Working-set size in tokens; `None` in runs that have only one.
    pub working_set_size: Option<u64>,
    /// Target hit rate, whole percent.
    pub cache_hit_rate: u32,
}

impl TestName {
    /// A test of a run with a single working set.
    #[must_use]
    pub fn new(context_size: u64, cache_hit_rate: u32) -> Self {
        Self {
            context_size,
            working_set_size: None,
            cache_hit_rate,
        }
    }

    /// The same test at one of several working-set sizes.
    #[must_use]
    pub fn with_working_set(self, working_set_size: Option<u64>) -> Self {
        Self {
            working_set_size,
            ..self
        }
    }
}

impl TestName {
    /// The test of a file `sustained_periods_ctx<c>[_ws<w>]_cache<r>_<ts>.csv`; `None` for other names.
    #[must_use]
    pub fn of_periods_file(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("sustained_periods_ctx")?;
        let (numbers, rate) = rest.split_once("_cache")?;
        let rate = rate.split(['_', '.']).next()?;
        let (context, working_set) = match numbers.split_once("_ws") {
            Some((context, set)) => (context, Some(set.parse().ok()?)),
            None => (numbers, None),
        };
        Some(Self::new(context.parse().ok()?, rate.parse().ok()?).with_working_set(working_set))
    }
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.working_set_size {
            None => write!(f, "{}_{}", self.context_size, self.cache_hit_rate),
            Some(tokens) => {
                write!(f, "{}_{tokens}_{}", self.context_size, self.cache_hit_rate)
            }
        }
    }
}

impl From<&SummaryRow> for TestName {
    fn from(row: &SummaryRow) -> Self {
        Self::new(row.context_size, row.cache_hit_rate).with_working_set(row.working_set_size)
    }
}

impl From<&PhaseRow> for TestName {
    fn from(row: &PhaseRow) -> Self {
        Self::new(row.context_size, row.cache_hit_rate).with_working_set(row.working_set_size)
    }
}

impl From<&PeriodRow> for TestName {
    fn from(row: &PeriodRow) -> Self {
        Self::new(row.context_size, row.cache_hit_rate).with_working_set(row.working_set_size)
    }
}

impl From<&HealthRow> for TestName {
    fn from(row: &HealthRow) -> Self {
        Self::new(row.context_size, row.cache_hit_rate).with_working_set(row.working_set_size)
    }
}

impl From<&RequestIntent> for TestName {
    fn from(row: &RequestIntent) -> Self {
        Self::new(row.context_size, row.cache_hit_rate).with_working_set(row.working_set_size)
    }
}

/// A text that names no test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form <context>_<rate>")]
pub struct NameError(pub String);

impl FromStr for TestName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError(text.to_owned());
        let numbers: Vec<u64> = text
            .split('_')
            .map(|part| {
                let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                if digits { part.parse().ok() } else { None }
            })
            .collect::<Option<_>>()
            .ok_or_else(error)?;
        let (context_size, working_set_size, rate) = match numbers[..] {
            [context, rate] => (context, None, rate),
            [context, working_set, rate] => (context, Some(working_set), rate),
            _ => return Err(error()),
        };
        Ok(Self {
            context_size,
            working_set_size,
            cache_hit_rate: u32::try_from(rate).map_err(|_| error())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A name survives printing and parsing.
    #[test]
    fn names_round_trip() {
        proptest!(|(context: u64, set: Option<u64>, rate: u32)| {
            let name = TestName::new(context, rate).with_working_set(set);
            prop_assert_eq!(name.to_string().parse::<TestName>(), Ok(name));
        });
    }

    #[test]
    fn the_name_of_a_periods_file_tells_its_test() {
        for (name, expected) in [
            (
                "sustained_periods_ctx512_ws10000_cache90_20261122_010713.csv",
                Some(TestName::new(512, 90).with_working_set(Some(10_000))),
            ),
            (
                "sustained_periods_ctx1000_cache0_20261122_010854.csv",
                Some(TestName::new(1000, 0)),
            ),
            ("sustained_periods_20261122_010854.csv", None),
            ("sustained_periods_ctxa_cache0.csv", None),
        ] {
            assert_eq!(TestName::of_periods_file(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "8000",
            "8000_",
            "_25",
            "8000_25_1_1",
            "8000_+25",
            "8000_x",
            "8000_9999999999",
        ] {
            assert_eq!(text.parse::<TestName>(), Err(NameError(text.to_owned())));
        }
    }
}
