//! Result directories: what a run writes, and everything that can be drawn from it.
//!
//! Promise: writers leave valid files behind at any moment and never touch what an earlier run wrote;
//! readers accept our directories and those of the Python originals, and turn a bad file into a
//! warning instead of an end. Refuses to measure or to decide anything, and knows no socket and no
//! async runtime.

pub mod atomic;
pub mod catalogue;
pub mod chart;
pub mod combine;
pub mod data;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod index;
pub mod kv_estimate;
pub mod metadata;
pub mod page;
pub mod progress;
pub mod resume;
pub mod run_command;
pub mod single_prompt;
pub mod stamp;
pub mod svg;
pub mod test_name;
pub mod trace_replay;
pub mod validate;
