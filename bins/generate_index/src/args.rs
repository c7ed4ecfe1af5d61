//! What was typed.

use std::path::PathBuf;

use clap::Parser;

/// The original had no option parser, so there are no abbreviations to keep.
pub const OPTION_GENERATIONS: &[&[&str]] = &[];

const USAGE: &str = "generate_index [OPTIONS] [OUTPUT_DIR] [VERSION]";

const EXAMPLES: &str = "\
Examples:
  generate_index ./output
  generate_index ./output 1.6

index.html is replaced if there is one. A file that cannot be read is a warning
here and on the page.

Exit codes: 0 done, 1 the page cannot be written, 2 wrong arguments, also a
directory that does not exist.";

/// The arguments of the tool.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "generate_index",
    version,
    about = "Write index.html for a directory of results.\n\nShows configuration, headline figures, doubts about \
             the run's validity, every chart as a picture with its link, and all data files.",
    override_usage = USAGE,
    after_help = EXAMPLES
)]
pub struct Args {
    /// Directory with the files of a run
    #[arg(
        value_name = "OUTPUT_DIR",
        default_value = "./output",
        help_heading = "Arguments"
    )]
    pub output_dir: PathBuf,

    /// Version of the tool that measured, for the footer
    #[arg(
        value_name = "VERSION",
        default_value = "1.0",
        help_heading = "Arguments"
    )]
    pub tool_version: String,

    /// Print no colors; there are none anyway
    #[arg(long, help_heading = "Other")]
    pub no_color: bool,
}
