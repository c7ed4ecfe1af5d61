//! Schema of `failed_requests_*.csv`: one row per failed or cancelled request.

use std::io::Write;

use super::SchemaError;
use super::table::sealed::Cellular;
use super::table::{Cells, Column, Line, RowWriter, required};
use crate::record::FailedRequest;
use crate::timeline::FailureKind;

/// One failed or cancelled request as its file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedRow {
    /// `<phase id>_r<k>`.
    pub request_id: String,
    /// Phase that launched it.
    pub phase_id: String,
    /// Kind of failure.
    pub kind: FailureKind,
    /// HTTP status, if one came.
    pub status: Option<u16>,
    /// One line for a person.
    pub message: String,
    /// Unix seconds.
    pub launch_time: f64,
    /// Launch to failure, seconds.
    pub elapsed: f64,
}

impl From<&FailedRequest> for FailedRow {
    fn from(request: &FailedRequest) -> Self {
        Self {
            request_id: request.intent.request_id.clone(),
            phase_id: request.intent.phase_id.to_string(),
            kind: request.kind,
            status: request.status,
            message: one_line(&request.message),
            launch_time: request.launch_time,
            elapsed: request.elapsed,
        }
    }
}

/// Line ends and runs of white space as single spaces: a row stays a line for people who use grep.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Cellular for FailedRow {
    const TABLE: &'static str = "failed requests";
    const COLUMNS: &'static [Column] = &[
        required("request_id"),
        required("phase_id"),
        required("kind"),
        required("status"),
        required("message"),
        required("launch_time"),
        required("elapsed"),
    ];

    fn read(cells: &mut Cells<'_>) -> Result<Self, SchemaError> {
        Ok(Self {
            request_id: cells.text("request_id"),
            phase_id: cells.text("phase_id"),
            kind: cells.custom("kind", FailureKind::parse, "a kind of failure")?,
            status: cells.opt_status("status")?,
            message: cells.text("message"),
            launch_time: cells.float("launch_time")?,
            elapsed: cells.float("elapsed")?,
        })
    }

    fn write(&self, line: &mut Line<'_>) -> Result<(), SchemaError> {
        line.text("request_id", &self.request_id);
        line.text("phase_id", &self.phase_id);
        line.text("kind", self.kind.as_str());
        line.opt_int("status", self.status.map(u64::from));
        line.text("message", &self.message);
        line.float("launch_time", self.launch_time)?;
        line.float("elapsed", self.elapsed)?;
        Ok(())
    }
}

/// Writes `failed_requests_*.csv`.
#[derive(Debug)]
pub struct FailedWriter<W> {
    rows: RowWriter<W, FailedRow>,
}

impl<W: Write> FailedWriter<W> {
    /// Starts a file: writes the header.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn new(output: W) -> Result<Self, SchemaError> {
        Ok(Self {
            rows: RowWriter::new(output, false)?,
        })
    }

    /// Goes on with a file that has its header already.
    #[must_use]
    pub fn append(output: W) -> Self {
        Self {
            rows: RowWriter::append(output, false),
        }
    }

    /// Writes one request.
    ///
    /// # Errors
    /// When a number is not finite, then nothing is written; or when the writer fails.
    pub fn write(&mut self, request: &FailedRequest) -> Result<(), SchemaError> {
        self.write_all(std::slice::from_ref(request))
    }

    /// Writes requests in one piece.
    ///
    /// # Errors
    /// When a number is not finite, then nothing is written; or when the writer fails.
    pub fn write_all(&mut self, requests: &[FailedRequest]) -> Result<(), SchemaError> {
        self.rows.write_each(requests, |request, line| {
            FailedRow::from(request).write(line)
        })
    }

    /// Writes rows that were read from another file.
    ///
    /// # Errors
    /// When a number is not finite, then nothing is written; or when the writer fails.
    pub fn write_rows(&mut self, rows: &[FailedRow]) -> Result<(), SchemaError> {
        self.rows.write_all(rows)
    }

    /// Flushes the writer.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn flush(&mut self) -> Result<(), SchemaError> {
        self.rows.flush()
    }

    /// The writer underneath.
    pub fn get_mut(&mut self) -> &mut W {
        self.rows.get_mut()
    }

    /// Gives the writer back.
    pub fn into_inner(self) -> W {
        self.rows.into_inner()
    }
}
