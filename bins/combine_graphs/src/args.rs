//! What was typed.

use std::path::PathBuf;

use clap::{ArgAction, Parser};

/// Options of the original, all versions.
pub const ORIGINAL_OPTIONS: &[&str] = &["help", "labels", "output", "output-dirs", "verbose"];

/// The option sets whose unambiguous prefixes keep their meaning.
pub const OPTION_GENERATIONS: &[&[&str]] = &[ORIGINAL_OPTIONS];

const USAGE: &str = "combine_graphs --output-dirs <DIR>... [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  combine_graphs --output-dirs baseline/output optimized/output \\
      --labels \"Before\" \"After\" --output comparison
  combine_graphs --output-dirs test1/output test2/output --output comparison

Without --labels a run is called after its directory, or after the directory
above it if its name is output. All directories are read before anything is
written. The first run is the one the others are compared with.

Exit codes: 0 done, 1 a directory holds no usable results or the result cannot
be written, 2 wrong arguments, 130 Ctrl-C.";

/// The arguments of the tool.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "combine_graphs",
    version,
    about = "Put the results of several runs into common charts and one table.",
    override_usage = USAGE,
    after_help = EXAMPLES
)]
pub struct Args {
    /// Directories to combine
    #[arg(long, value_name = "DIR", required = true, num_args = 1.., action = ArgAction::Set,
          help_heading = "Required")]
    pub output_dirs: Vec<PathBuf>,

    /// One label per directory, in the same order [default: names of the directories]
    #[arg(long, value_name = "LABEL", num_args = 1.., action = ArgAction::Set,
          help_heading = "Options")]
    pub labels: Option<Vec<String>>,

    /// Directory for the result, created if missing
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./combined_output",
        help_heading = "Options"
    )]
    pub output: PathBuf,

    /// Log what is read and written
    #[arg(long, help_heading = "Options")]
    pub verbose: bool,

    /// Print no colors; there are none either without a terminal or with NO_COLOR set
    #[arg(long, help_heading = "Other")]
    pub no_color: bool,
}
