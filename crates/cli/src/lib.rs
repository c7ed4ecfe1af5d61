//! What every tool shares at the terminal: option groups, argument parsing with argparse's habits,
//! logging, the progress display, tables, the `--brief` report and exit codes.
//!
//! Promise: synchronous, and free of knowledge about any tool or any other crate of the workspace.
//! Nothing here talks to a network. The only things it writes are stdout, stderr and the log file.
//!
//! | Module | Holds |
//! |---|---|
//! | [`argparse`] | clap made to read command lines as Python's argparse did |
//! | [`options`] | option groups that several tools flatten into their own |
//! | [`exit`] | exit codes, and errors that know theirs |
//! | [`interrupt`] | Ctrl-C for tools that write files |
//! | [`logging`] | the log lines, written by a thread of their own |
//! | [`progress`] | the live display on a terminal |
//! | [`console`] | stderr, shared by the two above |
//! | [`table`], [`number`], [`brief`] | text for people and for scripts |
//! | [`clock`] | local time, for stamps |
//! | [`secret`] | keys that cannot be printed by accident |

pub mod argparse;
pub mod brief;
pub mod clock;
pub mod console;
pub mod exit;
pub mod interrupt;
pub mod logging;
pub mod number;
pub mod options;
pub mod progress;
pub mod secret;
pub mod table;

pub use argparse::{Parsed, parse};
pub use exit::{AppExit, Failure};
