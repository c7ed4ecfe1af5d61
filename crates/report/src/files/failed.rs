//! `failed_requests_<context>_<ts>.csv`: the schema's columns and, behind them, the test of each row.
//!
//! Promise: the columns of [`metrics::schema`] come first and unchanged; `cache_hit_rate` and
//! `context_size` are appended, and `working_set_size` never is. A row is one line.

use std::io::Write;

use metrics::schema::{FailedRow, FailedWriter, SchemaError};

use crate::test_name::TestName;

/// The appended columns.
pub(crate) const TEST_COLUMNS: [&str; 2] = ["cache_hit_rate", "context_size"];

/// Writes the lines. Only `flush` hands on what the writer underneath gathers.
#[derive(Debug)]
pub(super) struct FailedLines<W> {
    output: W,
}

impl<W: Write> FailedLines<W> {
    /// Starts a file: writes the header.
    pub(super) fn new(mut output: W) -> Result<Self, SchemaError> {
        output.write_all(header()?.as_bytes())?;
        Ok(Self { output })
    }

    /// Goes on with a file that has its header.
    pub(super) fn append(output: W) -> Self {
        Self { output }
    }

    pub(super) fn write(&mut self, row: &FailedRow, test: TestName) -> Result<(), SchemaError> {
        let mut line = FailedWriter::append(Vec::new());
        line.write_rows(std::slice::from_ref(row))?;
        let mut line = line.into_inner();
        // The schema keeps messages on one line, so the line end is the last byte.
        line.pop();
        writeln!(line, ",{},{}", test.cache_hit_rate, test.context_size)?;
        Ok(self.output.write_all(&line)?)
    }

    pub(super) fn flush(&mut self) -> Result<(), SchemaError> {
        Ok(self.output.flush()?)
    }

    pub(super) fn into_inner(self) -> W {
        self.output
    }
}

/// The header line with its line end.
pub(crate) fn header() -> Result<String, SchemaError> {
    let header = FailedWriter::new(Vec::new())?.into_inner();
    let header = String::from_utf8_lossy(&header);
    Ok(format!(
        "{},{}\n",
        header.trim_end(),
        TEST_COLUMNS.join(",")
    ))
}
