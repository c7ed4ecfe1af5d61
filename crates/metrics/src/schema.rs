//! CSV schemas of a result directory: readers that accept every version of the originals, writers of ours.
//!
//! Reading: columns are found by name, unknown ones ignored, a missing required one is named in the error.
//! Whole numbers may be written `800.0`; empty cells are undefined; the originals' 0.0 in TTFT, TTLT and
//! ITL columns is undefined too. A broken row is an error that names line and column. Readers are
//! iterators of one result per row, so that a report can skip a broken row and go on; `read_*` collects and
//! stops at the first error. The name of the file is the caller's to add.
//!
//! Writing: the originals' columns in their order, ours appended; `\n`, quotes only where needed, floats in
//! their shortest form that reads back equal. `working_set_size` is written only when asked for.

mod cell;
mod detail;
mod failed;
mod health;
mod rows;
mod single_prompt;
mod strip;
mod table;

use std::io::{BufRead, Read, Write};

pub use detail::{DetailReader, DetailWriter, Lists, SampleReader, SampleRow};
pub use failed::{FailedRow, FailedWriter};
pub use table::{Row, RowReader, RowWriter, SetColumns};

use crate::health::HealthRow;
use crate::period::PeriodRow;
use crate::phase::PhaseRow;
use crate::single_prompt::SinglePromptRow;
use crate::summary::SummaryRow;

/// Why a CSV could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not even a header.
    #[error("the file is empty, a header row was expected")]
    Empty,
    /// The header lacks a column that nothing can stand in for.
    #[error("no column {column}; this is no {table} file")]
    MissingColumn {
        /// Name of the column.
        column: &'static str,
        /// Kind of file.
        table: &'static str,
    },
    /// A cell does not hold what its column says.
    #[error("line {line}, column {column}: {found:?} is not {expected}")]
    Cell {
        /// Line in the file, from 1.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The cell, shortened.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A row has more or fewer cells than the header, as after a torn write.
    #[error("line {line}: {found} cells where the header has {expected}")]
    Length {
        /// Line in the file, from 1.
        line: u64,
        /// Cells in the row.
        found: usize,
        /// Cells in the header.
        expected: usize,
    },
    /// The bytes are not CSV, or reading them failed.
    #[error("broken CSV")]
    Csv(#[from] csv::Error),
    /// A number that no reader could take back; nothing of the row was written.
    #[error("column {column} of a {table} row is not a finite number")]
    NotFinite {
        /// Name of the column.
        column: &'static str,
        /// Kind of file.
        table: &'static str,
    },
    /// The writer failed.
    #[error("writing failed")]
    Write(#[from] std::io::Error),
}

/// Reads `summary_*.csv`.
///
/// # Errors
/// At the first thing that is wrong.
pub fn read_summary(input: impl Read) -> Result<Vec<SummaryRow>, SchemaError> {
    RowReader::new(input)?.collect()
}

/// Reads `phase_metadata_*.csv`.
///
/// # Errors
/// At the first thing that is wrong.
pub fn read_phases(input: impl Read) -> Result<Vec<PhaseRow>, SchemaError> {
    RowReader::new(input)?.collect()
}

/// Reads `sustained_periods_*.csv`.
///
/// # Errors
/// At the first thing that is wrong.
pub fn read_periods(input: impl Read) -> Result<Vec<PeriodRow>, SchemaError> {
    RowReader::new(input)?.collect()
}

/// Reads `failed_requests_*.csv`.
///
/// # Errors
/// At the first thing that is wrong.
pub fn read_failed(input: impl Read) -> Result<Vec<FailedRow>, SchemaError> {
    RowReader::new(input)?.collect()
}

/// Reads `detailed_results_*.csv` row by row, list columns included.
///
/// # Errors
/// When the header is missing or lacks a column; errors of rows come from the iterator.
pub fn read_detail<R: Read>(input: R) -> Result<DetailReader<R>, SchemaError> {
    DetailReader::new(input, Lists::Parse)
}

/// Reads `detailed_results_*.csv` row by row and leaves the two list columns alone: much faster, and all
/// that charts need.
///
/// # Errors
/// When the header is missing or lacks a column; errors of rows come from the iterator.
pub fn read_detail_without_lists<R: Read>(input: R) -> Result<DetailReader<R>, SchemaError> {
    DetailReader::new(input, Lists::Skip)
}

/// Reads the samples of `detailed_results_*.csv` row by row.
///
/// # Errors
/// When the header is missing or lacks a column; errors of rows come from the iterator.
pub fn read_samples<R: BufRead>(input: R) -> Result<SampleReader<R>, SchemaError> {
    SampleReader::new(input)
}

/// Reads `single_prompt_results_*.csv`.
///
/// # Errors
/// At the first thing that is wrong.
pub fn read_single_prompt(input: impl Read) -> Result<Vec<SinglePromptRow>, SchemaError> {
    RowReader::new(input)?.collect()
}

/// Reads `client_health_*.csv`.
///
/// # Errors
/// At the first thing that is wrong.
pub fn read_health(input: impl Read) -> Result<Vec<HealthRow>, SchemaError> {
    RowReader::new(input)?.collect()
}

/// Writes a whole `client_health_*.csv`.
///
/// # Errors
/// When the writer fails.
pub fn write_health(
    output: impl Write,
    rows: &[HealthRow],
    set: impl Into<SetColumns>,
) -> Result<(), SchemaError> {
    RowWriter::new(output, set)?.write_all(rows)
}

/// Writes a whole `summary_*.csv`.
///
/// # Errors
/// When a required number is not finite or the writer fails.
pub fn write_summary(
    output: impl Write,
    rows: &[SummaryRow],
    set: impl Into<SetColumns>,
) -> Result<(), SchemaError> {
    RowWriter::new(output, set)?.write_all(rows)
}

/// Writes a whole `phase_metadata_*.csv`.
///
/// # Errors
/// When a required number is not finite or the writer fails.
pub fn write_phases(
    output: impl Write,
    rows: &[PhaseRow],
    set: impl Into<SetColumns>,
) -> Result<(), SchemaError> {
    RowWriter::new(output, set)?.write_all(rows)
}

/// Writes a whole `sustained_periods_*.csv`.
///
/// # Errors
/// When a required number is not finite or the writer fails.
pub fn write_periods(
    output: impl Write,
    rows: &[PeriodRow],
    set: impl Into<SetColumns>,
) -> Result<(), SchemaError> {
    RowWriter::new(output, set)?.write_all(rows)
}
