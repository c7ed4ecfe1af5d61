//! How the client itself runs, and how it shows that it was not the bottleneck.

use clap::{ArgAction, Args, ValueEnum};

use crate::argparse::parse_int;

/// The client's own threads, and the check of its own error.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Threads that carry requests, each on a core of its own [default: all cores but one]
    #[arg(long, value_name = "N", value_parser = parse_int, allow_negative_numbers = true,
          action = ArgAction::Set, help_heading = "Client")]
    pub client_threads: Option<i128>,

    /// Its error.
    #[command(flatten)]
    pub calibration: CalibrateArgs,
}

/// The check of the client's own error.
#[derive(Debug, Clone, Copy, Args)]
pub struct CalibrateArgs {
    /// After the tests, measure the client's own error on a server inside the tool, for a few seconds, and mark
    /// results that it spoils
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        help_heading = "Client"
    )]
    pub calibrate: Calibrate,
}

/// Whether the client's own error is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Calibrate {
    /// After the study.
    #[default]
    Auto,
    /// Not at all; windows are judged by what the client felt in them.
    Off,
}
crate::words!(Calibrate { Auto = "auto", Off = "off" });
