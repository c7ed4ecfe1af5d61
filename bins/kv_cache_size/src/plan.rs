//! What was asked for: every word read and judged.
//!
//! Promise: pure, and complete: a plan that exists can be carried out for some model. What is wrong is said in the words
//! of Python's argparse, which the original used.

use std::num::NonZeroU32;

use cli::argparse::parse_int;
use kvcalc::{CacheFormat, FormatError, KvBytes, Precision, Scales, TokenCount};
use thiserror::Error;

use crate::args::Args;

/// Token counts reported when none are given.
pub const STANDARD_TOKENS: [u64; 4] = [1, 1000, 10_000, 100_000];
/// Most tokens in one sequence; beyond it is a typing error.
const MOST_TOKENS: u64 = 1_000_000_000_000;
/// Most sequences in a batch.
const MOST_SEQUENCES: u64 = 1_000_000;
/// Most ranks.
const MOST_RANKS: u64 = 65_536;

/// A memory with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: KvBytes,
}

/// What is to be calculated and how it is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The model as it was typed.
    pub model_id: String,
    /// How elements are stored; states in 2 bytes until the config or [`Self::state_bytes`] says otherwise.
    pub format: CacheFormat,
    /// Bytes of one element of a recurrent state, if asked for.
    pub state_bytes: Option<u32>,
    /// Sequences in the batch, at least 1.
    pub batch: u64,
    /// Sequence lengths, in the order given, duplicates kept.
    pub tokens: Vec<TokenCount>,
    /// Tensor-parallel ranks.
    pub ranks: NonZeroU32,
    /// Memory for the cache, of one rank.
    pub memory: Option<KvBytes>,
    /// Further tiers.
    pub tiers: Vec<Tier>,
    /// JSON instead of text.
    pub json: bool,
}

/// What is wrong with the arguments.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// No model.
    #[error("the following arguments are required: model_id")]
    NoModel,
    /// More words than one that belong to no option.
    #[error("unrecognized arguments: {}", .0.join(" "))]
    Unrecognized(Vec<String>),
    /// A word that is not one of a few.
    #[error("argument {option}: invalid choice: '{value}' (choose from {})", quoted(.choices))]
    Choice {
        /// The option.
        option: &'static str,
        /// What was typed.
        value: String,
        /// What could have been.
        choices: Vec<&'static str>,
    },
    /// A word that is no whole number.
    #[error("argument {option}: invalid int value: '{value}'")]
    NotAnInt {
        /// The option.
        option: &'static str,
        /// What was typed.
        value: String,
    },
    /// A whole number that cannot be meant.
    #[error("argument {option}: must be from {least} to {most}, not {value}")]
    OutOfRange {
        /// The option.
        option: &'static str,
        /// What was typed.
        value: String,
        /// Smallest possible.
        least: u64,
        /// Largest possible.
        most: u64,
    },
    /// A word that is no size.
    #[error("argument {option}: invalid size: '{value}' (write 80GiB, 512GB or 1.5TiB)")]
    Size {
        /// The option.
        option: &'static str,
        /// What was typed.
        value: String,
    },
    /// A tier without a name or a size.
    #[error("argument --tier: expected NAME:SIZE, not '{0}'")]
    Tier(String),
    /// Two tiers of one name.
    #[error("argument --tier: '{0}' is given twice")]
    SameTier(String),
    /// Scales that do not go with the precision.
    #[error("argument --kv-scales: {0}")]
    Format(#[from] FormatError),
}

fn quoted(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|word| format!("'{word}'")).collect();
    quoted.join(", ")
}

impl TryFrom<Args> for Plan {
    type Error = PlanError;

    fn try_from(args: Args) -> Result<Self, PlanError> {
        let model_id = args.model_id.ok_or(PlanError::NoModel)?;
        if !args.more.is_empty() {
            return Err(PlanError::Unrecognized(args.more));
        }
        let precision = choice("--precision", &args.precision, &Precision::ALL, |p| {
            p.word()
        })?;
        let scales = choice("--kv-scales", &args.kv_scales, &Scales::ALL, |s| s.word())?;
        let state_bytes = args
            .state_dtype
            .map(|word| state_bytes(&word))
            .transpose()?;
        let ranks = int("--tp", &args.tp, 1, MOST_RANKS)?;
        Ok(Self {
            model_id,
            format: CacheFormat::new(precision).with_scales(scales)?,
            state_bytes,
            batch: int("--batch-size", &args.batch_size, 1, MOST_SEQUENCES)?,
            tokens: match args.custom_tokens {
                Some(counts) => counts
                    .iter()
                    .map(|word| int("--custom-tokens", word, 0, MOST_TOKENS).map(TokenCount))
                    .collect::<Result<_, _>>()?,
                None => STANDARD_TOKENS.map(TokenCount).to_vec(),
            },
            ranks: u32::try_from(ranks)
                .ok()
                .and_then(NonZeroU32::new)
                .expect("between 1 and 65,536"),
            memory: args
                .memory
                .map(|word| size("--memory", &word))
                .transpose()?,
            tiers: tiers(&args.tier)?,
            json: args.json,
        })
    }
}

fn choice<T: Copy>(
    option: &'static str,
    value: &str,
    all: &[T],
    word: impl Fn(&T) -> &'static str,
) -> Result<T, PlanError> {
    let found = all.iter().find(|known| word(known) == value);
    found.copied().ok_or_else(|| PlanError::Choice {
        option,
        value: value.to_owned(),
        choices: all.iter().map(word).collect(),
    })
}

fn state_bytes(value: &str) -> Result<u32, PlanError> {
    let all = [Precision::Bf16, Precision::Fp16, Precision::Fp32];
    choice("--state-dtype", value, &all, |p| p.word()).map(|precision| precision.bits() / 8)
}

fn int(option: &'static str, value: &str, least: u64, most: u64) -> Result<u64, PlanError> {
    let out_of_range = || PlanError::OutOfRange {
        option,
        value: value.to_owned(),
        least,
        most,
    };
    match parse_int(value) {
        Err(cli::argparse::IntError::TooLarge) => Err(out_of_range()),
        Err(_) => Err(PlanError::NotAnInt {
            option,
            value: value.to_owned(),
        }),
        Ok(n) => u64::try_from(n)
            .ok()
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(out_of_range),
    }
}

/// Units by name, in bytes; a bare letter is the power of 1024, as engines and drivers use it.
const UNITS: &[(&str, f64)] = &[
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("pb", 1e15),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("pib", 1_125_899_906_842_624.0),
    ("k", 1024.0),
    ("m", 1_048_576.0),
    ("g", 1_073_741_824.0),
    ("t", 1_099_511_627_776.0),
];
/// Largest size, in bytes: an exbibyte. Whole numbers below it are exact enough as floats for a report.
const MOST_BYTES: f64 = 1_152_921_504_606_846_976.0;

/// Reads a size: a number, perhaps with a fraction, and a unit; without a unit, bytes.
fn size(option: &'static str, value: &str) -> Result<KvBytes, PlanError> {
    let bad = || PlanError::Size {
        option,
        value: value.to_owned(),
    };
    let text = value.trim();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = if unit.is_empty() {
        1.0
    } else {
        let unit = unit.to_ascii_lowercase();
        UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(bad)?
            .1
    };
    let number = cli::argparse::parse_float(number).map_err(|_| bad())?;
    let bytes = number * factor;
    if !(0.0..=MOST_BYTES).contains(&bytes) {
        return Err(bad());
    }
    Ok(KvBytes(bytes.floor() as u64))
}

fn tiers(words: &[String]) -> Result<Vec<Tier>, PlanError> {
    let mut tiers: Vec<Tier> = Vec::new();
    for word in words {
        let (name, amount) = word
            .rsplit_once(':')
            .filter(|(name, _)| !name.trim().is_empty())
            .ok_or_else(|| PlanError::Tier(word.clone()))?;
        if tiers.iter().any(|tier| tier.name == name) {
            return Err(PlanError::SameTier(name.to_owned()));
        }
        tiers.push(Tier {
            name: name.to_owned(),
            size: size("--tier", amount)?,
        });
    }
    Ok(tiers)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{OPTION_GENERATIONS, model_id_last};

    fn plan(line: &str) -> Result<Plan, PlanError> {
        let words = format!("kv_cache_size {line}");
        let argv = model_id_last(words.split_whitespace().map(Into::into));
        let args: Args =
            cli::argparse::try_parse(OPTION_GENERATIONS, argv).expect("words are not judged here");
        Plan::try_from(args)
    }

    #[track_caller]
    fn refused(line: &str, words: &str) {
        assert_eq!(plan(line).unwrap_err().to_string(), words, "{line}");
    }

    #[test]
    fn defaults_are_the_originals() {
        let plan = plan("org/model").unwrap();
        assert_eq!(plan.model_id, "org/model");
        assert_eq!(plan.format, CacheFormat::new(Precision::Fp8));
        assert_eq!((plan.batch, plan.ranks.get(), plan.json), (1, 1, false));
        assert_eq!(plan.tokens, STANDARD_TOKENS.map(TokenCount));
        assert_eq!((plan.memory, plan.tiers), (None, vec![]));
    }

    #[test]
    fn the_model_may_stand_anywhere() {
        for line in [
            "--custom-tokens 5000 50000 500000 M",
            "--custom-tokens 5000 50000 500000 -- M",
            "M --custom-tokens 5000 50000 500000",
            "--custom-tokens 1 --custom-tokens 5_000 50000 500000 M --precision fp8",
            "--batch 1 --cust 5000 50000 500000 M",
        ] {
            let plan = plan(line).unwrap();
            assert_eq!(plan.model_id, "M", "{line}");
            assert_eq!(
                plan.tokens,
                [5000, 50_000, 500_000].map(TokenCount),
                "{line}"
            );
        }
        assert_eq!(
            plan("--custom-tokens 3 3 0 M").unwrap().tokens,
            [3, 3, 0].map(TokenCount)
        );
    }

    #[test]
    fn wrong_words_are_refused_in_the_originals_words() {
        refused("", "the following arguments are required: model_id");
        refused(
            "--custom-tokens 5",
            "the following arguments are required: model_id",
        );
        refused("a b c", "unrecognized arguments: b c");
        refused(
            "m --precision int9",
            "argument --precision: invalid choice: 'int9' (choose from 'fp8', 'fp16', 'bf16', 'fp32', 'int8', 'fp4')",
        );
        refused(
            "m --precision FP8",
            "argument --precision: invalid choice: 'FP8' (choose from 'fp8', 'fp16', 'bf16', 'fp32', 'int8', 'fp4')",
        );
        refused(
            "m --batch-size x",
            "argument --batch-size: invalid int value: 'x'",
        );
        refused(
            "m --batch-size 1.5",
            "argument --batch-size: invalid int value: '1.5'",
        );
        refused(
            "m --batch-size 0",
            "argument --batch-size: must be from 1 to 1000000, not 0",
        );
        refused(
            "m --custom-tokens -5",
            "argument --custom-tokens: must be from 0 to 1000000000000, not -5",
        );
        refused("m --tp 0", "argument --tp: must be from 1 to 65536, not 0");
        refused(
            "m --memory 80Gx",
            "argument --memory: invalid size: '80Gx' (write 80GiB, 512GB or 1.5TiB)",
        );
        refused(
            "m --tier 512GiB",
            "argument --tier: expected NAME:SIZE, not '512GiB'",
        );
        refused(
            "m --tier a:1GiB --tier a:2GiB",
            "argument --tier: 'a' is given twice",
        );
        refused(
            "m --precision fp16 --kv-scales ggml",
            "argument --kv-scales: fp16 elements are stored without scales",
        );
        refused(
            "m --precision int8 --kv-scales ds-mla",
            "argument --kv-scales: the ds-mla layout holds fp8 elements, not int8",
        );
        refused(
            "m --state-dtype fp8",
            "argument --state-dtype: invalid choice: 'fp8' (choose from 'bf16', 'fp16', 'fp32')",
        );
    }

    #[test]
    fn sizes_are_read_with_both_kinds_of_units() {
        for (word, bytes) in [
            ("80GiB", 80 << 30),
            ("80gib", 80 << 30),
            ("80G", 80 << 30),
            ("80GB", 80_000_000_000),
            ("1.5TiB", 3 << 39),
            ("1024", 1024),
            ("0", 0),
            ("2KiB", 2048),
            ("1_000MB", 1_000_000_000),
            ("7 B", 7),
        ] {
            assert_eq!(size("--memory", word), Ok(KvBytes(bytes)), "{word}");
        }
        for word in [
            "", "GiB", "-1GiB", "1e30GiB", "infGiB", "80 Gi", "2EiB", "0x10",
        ] {
            assert!(size("--memory", word).is_err(), "{word}");
        }
    }

    #[test]
    fn the_parser_itself_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["kv_cache_size", "m", "--tier", "a:b:1GiB"]);
        let tier = Plan::try_from(args).unwrap().tiers.remove(0);
        assert_eq!((tier.name.as_str(), tier.size), ("a:b", KvBytes(1 << 30)));
    }
}
