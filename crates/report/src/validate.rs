//! The one judge of a result directory: whether everything in it is well formed and agrees.
//!
//! Promise: reads the whole directory and changes nothing; every finding names a file and says what is
//! wrong with it. What readers forgive is an error here: the measure is what this suite writes, not
//! what it accepts, so directories of the originals do not pass. Refuses to stop at the first error.

mod agreement;
mod page;
mod periods;
mod prompt;
mod run;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::data::{DataWarning, RunData};
use crate::files::{DataFiles, FileKind, ResultDir};
use crate::stamp::StampedFile;

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ValidationCounts {
    /// Data files read.
    pub tables: usize,
    /// Rows of completed requests, in all files.
    pub detail_rows: u64,
    /// Rows of failed and cancelled requests, in all files.
    pub failed_rows: u64,
    /// Phases of the tests in the summary.
    pub phases: usize,
    /// Tests in the summary.
    pub tests: usize,
    /// Pages.
    pub pages: usize,
    /// References in pages.
    pub links: usize,
}

/// Findings of [`validate`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// What is wrong.
    pub errors: Vec<DataWarning>,
    /// What is unusual and can have a good reason.
    pub warnings: Vec<DataWarning>,
    /// What was looked at.
    pub counts: ValidationCounts,
}

impl Validation {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    fn error(&mut self, file: &str, message: impl Into<String>) {
        self.errors.push(DataWarning::new(file, message));
    }

    fn warn(&mut self, file: &str, message: impl Into<String>) {
        self.warnings.push(DataWarning::new(file, message));
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "error: {error}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        let c = &self.counts;
        write!(
            f,
            "{} errors, {} warnings; {} tests, {} phases, {} tables, {} requests, {} failed requests, \
             {} pages, {} links",
            self.errors.len(),
            self.warnings.len(),
            c.tests,
            c.phases,
            c.tables,
            c.detail_rows,
            c.failed_rows,
            c.pages,
            c.links,
        )
    }
}

/// Judges the directory at `dir`.
#[must_use]
pub fn validate(dir: &Path) -> Validation {
    let mut found = Validation::default();
    let listing = match ResultDir::open(dir).and_then(|dir| dir.list()) {
        Ok(listing) => listing,
        Err(error) => {
            found.errors.push(DataWarning::of_error(".", &error));
            return found;
        }
    };
    let files = DataFiles::of(listing.clone());
    for (kind, file) in files.iter() {
        if kind != FileKind::RunCommand {
            table::check(kind, file, &mut found);
        }
    }
    // Broken rows were found above, file by file; what the tolerant reader leaves is compared.
    let data = RunData::read_whole(dir);
    if prompt::is_one(&data) {
        prompt::check(&data, &listing, &files, &mut found);
    } else {
        agreement::check(&data, &files, &mut found);
        run::check(&data, &listing, &files, &mut found);
    }
    page::check(dir, &listing, &data, &mut found);
    found
}

/// Names of the files in a listing.
fn names(listing: &[StampedFile]) -> BTreeSet<&str> {
    listing.iter().map(|file| file.name.as_str()).collect()
}

/// Whether two numbers agree to 10⁻⁹ of the larger one.
fn agree(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// At most this many findings of one sort per file: a file broken throughout need not say it a
/// million times.
const MAX_PER_FILE: usize = 5;

/// Gathers findings of one file and tells how many it kept to itself.
struct Findings<'a> {
    found: &'a mut Validation,
    file: &'a str,
    n: usize,
}

impl<'a> Findings<'a> {
    fn of(found: &'a mut Validation, file: &'a str) -> Self {
        Self { found, file, n: 0 }
    }

    fn error(&mut self, message: impl FnOnce() -> String) {
        if self.n < MAX_PER_FILE {
            self.found.error(self.file, message());
        }
        self.n += 1;
    }

    fn expect(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.error(message);
        }
    }
}

impl Drop for Findings<'_> {
    fn drop(&mut self) {
        if self.n > MAX_PER_FILE {
            let more = self.n - MAX_PER_FILE;
            self.found
                .error(self.file, format!("{more} more errors like these"));
        }
    }
}

#[cfg(test)]
mod tests;
