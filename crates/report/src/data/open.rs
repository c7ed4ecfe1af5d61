//! Reading the rows of one file with everything that may be wrong with it.
//!
//! Promise: a file that cannot be read yields no rows and one warning; broken rows are skipped, with
//! one warning per file that counts them; a last line without its line end, as a killed process
//! leaves behind, is dropped even where it happens to parse.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use metrics::schema::{Row, RowReader, SchemaError};

use super::{DataWarning, RunData};
use crate::atomic::{FileError, open_regular};
use crate::stamp::StampedFile;

/// Opens a file for reading.
pub(crate) fn open_file(path: &Path) -> Result<File, FileError> {
    open_regular(path).map_err(|e| FileError::new("read", path, e))
}

/// Whether the last line lacks its line end.
pub(crate) fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(last != *b"\n")
}

/// Reads a file row by row, handing every good row to `take`. False where there were no rows to look at, because the file
/// cannot be read or does not begin as it should.
pub(crate) fn for_each_row<T, I>(
    file: &StampedFile,
    warnings: &mut Vec<DataWarning>,
    reader: impl FnOnce(BufReader<File>) -> Result<I, SchemaError>,
    mut take: impl FnMut(T),
) -> bool
where
    I: Iterator<Item = Result<T, SchemaError>>,
{
    let mut warn = |message: String| warnings.push(DataWarning::new(&file.name, message));
    let opened = open_file(&file.path).and_then(|mut handle| {
        let torn = is_torn(&mut handle).map_err(|e| FileError::new("read", &file.path, e))?;
        Ok((handle, torn))
    });
    let (handle, torn) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            warn(super::causes(&error));
            return false;
        }
    };
    let rows = match reader(BufReader::with_capacity(128 * 1024, handle)) {
        Ok(rows) => rows,
        Err(error) => {
            warn(super::causes(&error));
            return false;
        }
    };
    let mut n_broken = 0u64;
    let mut first_error = String::new();
    let mut rows = rows.peekable();
    while let Some(row) = rows.next() {
        let is_last = rows.peek().is_none();
        match row {
            _ if torn && is_last => {
                warn("the last line is incomplete and was left out".to_owned());
            }
            Ok(row) => take(row),
            Err(error) => {
                if n_broken == 0 {
                    first_error = super::causes(&error);
                }
                n_broken += 1;
            }
        }
    }
    match n_broken {
        0 => {}
        1 => warn(format!("one row was left out: {first_error}")),
        n => warn(format!("{n} rows were left out, the first: {first_error}")),
    }
    true
}

/// All good rows of a small file.
pub(crate) fn read_table<T: Row>(file: &StampedFile, warnings: &mut Vec<DataWarning>) -> Vec<T> {
    let mut rows = Vec::new();
    for_each_row(file, warnings, RowReader::new, |row| rows.push(row));
    rows
}

impl RunData {
    /// Whether the header of the newest summary names a column, whatever is in it; false without a summary.
    #[must_use]
    pub fn newest_summary_has(&self, column: &str) -> bool {
        let file = self.summary_file.as_ref();
        file.is_some_and(|name| has_column(&StampedFile::of(self.dir.join(name)), column))
    }
}

/// Whether the header of a file names a column; false where there is no header to read.
pub(crate) fn has_column(file: &StampedFile, name: &str) -> bool {
    let Ok(handle) = open_file(&file.path) else {
        return false;
    };
    // A header of ours is a few hundred bytes; what is longer is no header.
    let mut head = Vec::new();
    let read = handle.take(16 * 1024).read_to_end(&mut head);
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    read.is_ok()
        && String::from_utf8_lossy(line)
            .split(',')
            .any(|cell| cell.trim().trim_matches('"') == name)
}
