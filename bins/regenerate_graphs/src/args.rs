//! What was typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Options of the original, all versions.
pub const ORIGINAL_OPTIONS: &[&str] = &["help", "tool"];

/// The option sets whose unambiguous prefixes keep their meaning.
pub const OPTION_GENERATIONS: &[&[&str]] = &[ORIGINAL_OPTIONS];

const USAGE: &str = "regenerate_graphs [OPTIONS] OUTPUT_DIR";

const EXAMPLES: &str = "\
Examples:
  regenerate_graphs ./my_test_output
  regenerate_graphs ./memory_tier_test --tool working_set

Existing pages are replaced, nothing is deleted; index.html is refreshed where
there is one. The threshold lines are those of the run (progress.json).

Exit codes: 0 done, 1 data are missing or unusable, 2 wrong arguments, 130
Ctrl-C.";

/// The arguments of the tool.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "regenerate_graphs",
    version,
    about = "Draw all charts of a result directory anew from its CSV files.",
    override_usage = USAGE,
    after_help = EXAMPLES
)]
pub struct Args {
    /// Directory to read and to write
    #[arg(value_name = "OUTPUT_DIR", help_heading = "Arguments")]
    pub output_dir: PathBuf,

    /// Whose results these are
    #[arg(
        long,
        value_name = "TOOL",
        value_enum,
        default_value_t,
        help_heading = "Options"
    )]
    pub tool: Tool,

    /// Print no colors; there are none anyway
    #[arg(long, help_heading = "Other")]
    pub no_color: bool,
}

/// Tools whose results have charts that can be drawn from files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Tool {
    /// `cache_rate_tester`.
    #[default]
    #[value(name = "cache_rate")]
    CacheRate,
    /// `working_set_tester`.
    #[value(name = "working_set")]
    WorkingSet,
}
cli::words!(Tool { CacheRate = "cache_rate", WorkingSet = "working_set" });
