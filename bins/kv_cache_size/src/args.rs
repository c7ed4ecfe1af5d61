//! What was typed: every option of the tool, as words.
//!
//! Promise: names and defaults are the published ones. Words are read and judged by [`crate::plan`], because their
//! error messages are the original's.

use std::ffi::{OsStr, OsString};

use clap::{ArgAction, Parser};
use cli::argparse::parse_int;

/// Name of the tool.
pub const NAME: &str = "kv_cache_size";
/// How it is called, one line.
pub const USAGE: &str = "kv_cache_size [OPTIONS] MODEL_ID";

/// Options of the original; all its versions have the same.
pub const ORIGINAL_OPTIONS: &[&str] = &["batch-size", "custom-tokens", "help", "precision"];

/// The option sets whose unambiguous prefixes keep their meaning.
pub const OPTION_GENERATIONS: &[&[&str]] = &[ORIGINAL_OPTIONS];

const EXAMPLES: &str = "\
Examples:
  kv_cache_size meta-llama/Llama-3.3-70B-Instruct
  kv_cache_size --precision fp16 ./my-model
  kv_cache_size --custom-tokens 5000 50000 500000 MODEL_ID
  kv_cache_size --memory 80GiB --tp 4 --tier dram:512GiB MODEL_ID

MODEL_ID is looked for as a path first, then on the Hugging Face Hub (HF_TOKEN,
HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are respected). Public models that the
Hub does not give out are answered from a built-in table, with a line that says
so. Sizes: GiB, MiB are powers of 1024, GB, MB powers of 1000; in the report
KB, MB and GB are powers of 1024, as they always were.
Options may be shortened (--prec fp16) as long as they stay unambiguous.

Exit codes: 0 done, 1 the config cannot be had or is not understood, 2 wrong
arguments, 130 Ctrl-C.";

/// The arguments of the tool.
#[derive(Debug, Clone, Parser)]
#[command(
    name = NAME,
    version,
    about = "Calculate KV cache memory requirements for LLM models.\n\nReads a model's config.json and works \
             out what its attention keeps per token and its states per sequence, for every kind of layer it \
             has.",
    override_usage = USAGE,
    after_help = EXAMPLES
)]
pub struct Args {
    /// Hugging Face model id, directory with a config.json, or a config file
    #[arg(value_name = "MODEL_ID", help_heading = "Model")]
    pub model_id: Option<String>,

    /// Words that belong to nothing
    #[arg(value_name = "WORDS", hide = true, help_heading = "Model")]
    pub more: Vec<String>,

    /// Stored size of one element: fp8, fp16, bf16, fp32, int8 or fp4
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "fp8",
        help_heading = "Cache"
    )]
    pub precision: String,

    /// Scales stored beside quantized elements: none, tensor, token-head (4 bytes per vector), block-16
    /// (NVFP4), block-32 (MXFP4, MXFP8), ggml (q8_0, q4_0) or ds-mla (656 bytes for fp8 MLA)
    #[arg(
        long,
        value_name = "KIND",
        default_value = "none",
        help_heading = "Cache"
    )]
    pub kv_scales: String,

    /// Stored size of one element of a recurrent state: bf16, fp16 or fp32 [default: what the config names,
    /// else bf16]
    #[arg(long, value_name = "TYPE", help_heading = "Cache")]
    pub state_dtype: Option<String>,

    /// Sequences in the batch; multiplies everything
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        allow_negative_numbers = true,
        help_heading = "Load"
    )]
    pub batch_size: String,

    /// Sequence lengths in tokens [default: 1 1000 10000 100000]
    #[arg(long, value_name = "TOKENS", num_args = 1.., action = ArgAction::Set,
          allow_negative_numbers = true, help_heading = "Load")]
    pub custom_tokens: Option<Vec<String>>,

    /// Tensor-parallel ranks; adds what one rank holds
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        allow_negative_numbers = true,
        help_heading = "Load"
    )]
    pub tp: String,

    /// Memory for the cache, on one rank if --tp is given; adds what fits
    #[arg(long, value_name = "SIZE", help_heading = "Capacity")]
    pub memory: Option<String>,

    /// A further memory tier, such as dram:512GiB; may be repeated; adds what fits
    #[arg(long, value_name = "NAME:SIZE", action = ArgAction::Append, help_heading = "Capacity")]
    pub tier: Vec<String>,

    /// Print one JSON object instead of the report
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Print no colors; there are none in any case
    #[arg(long, help_heading = "Output")]
    pub no_color: bool,
}

/// Moves the word that ends a list of token counts to the end of the command line.
///
/// The user's own page calls `--custom-tokens 5000 50000 500000 MODEL_ID`, where the list would swallow the model: it
/// ends at the first word that is no whole number, and that word is the model.
#[must_use]
pub fn model_id_last(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arranged = Vec::new();
    let mut moved = Vec::new();
    let mut has_terminator = false;
    let mut words = argv.into_iter().peekable();
    while let Some(word) = words.next() {
        let begins_list = is_custom_tokens(&word);
        has_terminator = word == "--";
        arranged.push(word);
        if has_terminator {
            break;
        }
        if !begins_list {
            continue;
        }
        while let Some(count) = words.next_if(|word| is_int(word)) {
            arranged.push(count);
        }
        moved.extend(words.next_if(|word| !word.as_encoded_bytes().starts_with(b"-")));
    }
    arranged.extend(words);
    if !moved.is_empty() && !has_terminator {
        arranged.push("--".into());
    }
    arranged.extend(moved);
    arranged
}

/// `--custom-tokens` or a prefix of it, without a value of its own.
fn is_custom_tokens(word: &OsStr) -> bool {
    let Some(word) = word.to_str() else {
        return false;
    };
    word.len() > "--".len() && "--custom-tokens".starts_with(word)
}

fn is_int(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| parse_int(word).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(line: &str) -> String {
        let words = line.split_whitespace().map(OsString::from);
        let words: Vec<String> = model_id_last(words)
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        words.join(" ")
    }

    #[test]
    fn the_word_that_ends_a_list_of_counts_is_the_model() {
        for (line, expected) in [
            ("t --custom-tokens 5 6 M", "t --custom-tokens 5 6 -- M"),
            (
                "t --custom-tokens 5 M --precision fp16",
                "t --custom-tokens 5 --precision fp16 -- M",
            ),
            ("t --cust 5 M", "t --cust 5 -- M"),
            ("t M --custom-tokens 5 6", "t M --custom-tokens 5 6"),
            ("t --custom-tokens 5 -- M", "t --custom-tokens 5 -- M"),
            ("t --custom-tokens=5 M", "t --custom-tokens=5 M"),
            ("t --custom-tokens -5 M", "t --custom-tokens -5 -- M"),
            ("t --custom-tokens M", "t --custom-tokens -- M"),
            (
                "t --custom-tokens 5 --json M",
                "t --custom-tokens 5 --json M",
            ),
            ("t --batch-size 4 M", "t --batch-size 4 M"),
            (
                "t --custom-tokens 1 --custom-tokens 2 M",
                "t --custom-tokens 1 --custom-tokens 2 -- M",
            ),
            ("t -- --custom-tokens 5 M", "t -- --custom-tokens 5 M"),
        ] {
            assert_eq!(arranged(line), expected, "{line}");
        }
    }
}
