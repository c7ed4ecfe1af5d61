//! Result directories: what a run writes, and everything that can be drawn from it.
//!
//! Promise: writers leave valid files behind at any moment and never touch what an earlier run wrote;
//! readers accept our directories and those of the Python originals, and turn a bad file into a
//! warning instead of an end. Refuses to measure or to decide anything, and knows no socket and no
//! async runtime.

pub mod atomic;
pub mod data;
pub mod files;
pub mod metadata;
pub mod progress;
pub mod resume;
pub mod run_command;
pub mod stamp;
pub mod test_name;
