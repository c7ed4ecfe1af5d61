//! The machinery all schemas share: a header resolved once, cells handed out in column order.
//!
//! A row type lists its columns and reads and writes its cells in exactly that order, naming each; a name
//! out of order is a bug that every debug build reports.

use std::io::{Read, Write};
use std::marker::PhantomData;

use super::SchemaError;
use super::cell::{
    parse_float, parse_int, parse_list, push_quoted, render_float, render_int, render_list,
};

/// Longest excerpt of a cell in an error, bytes.
const EXCERPT: usize = 40;

/// Whether a header must have a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// In every version of the originals.
    Required,
    /// Added by some version, or by us.
    Optional,
    /// `working_set_size`: optional on reading, written only where it varies.
    WorkingSet,
    /// `min_working_set_size`: optional on reading, written only where it grows within a test.
    Growing,
}

/// Which columns on the working set a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetColumns {
    /// None: all tests have the same one.
    #[default]
    Without,
    /// `working_set_size`.
    Size,
    /// `working_set_size`, and in summaries `min_working_set_size`, the size at the start of a test.
    Growing,
}

impl SetColumns {
    fn has(self, need: Need) -> bool {
        match need {
            Need::Required | Need::Optional => true,
            Need::WorkingSet => self != Self::Without,
            Need::Growing => self == Self::Growing,
        }
    }
}

impl From<bool> for SetColumns {
    /// Whether `working_set_size` is written.
    fn from(with_working_set: bool) -> Self {
        if with_working_set {
            Self::Size
        } else {
            Self::Without
        }
    }
}

/// One column of a schema.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub(super) name: &'static str,
    pub(super) need: Need,
}

/// A column that every version has.
pub(super) const fn required(name: &'static str) -> Column {
    Column {
        name,
        need: Need::Required,
    }
}

/// A column that some versions lack.
pub(super) const fn optional(name: &'static str) -> Column {
    Column {
        name,
        need: Need::Optional,
    }
}

/// The working-set column.
pub(super) const WORKING_SET: Column = Column {
    name: "working_set_size",
    need: Need::WorkingSet,
};

/// The column of a working set's size at the start of a test.
pub(super) const MIN_WORKING_SET: Column = Column {
    name: "min_working_set_size",
    need: Need::Growing,
};

pub(super) mod sealed {
    use super::{Cells, Column, Line, SchemaError};

    /// How a row meets its cells; sealed, since the cell types are private.
    pub trait Cellular: Sized {
        #[doc(hidden)]
        const TABLE: &'static str;
        #[doc(hidden)]
        const COLUMNS: &'static [Column];
        #[doc(hidden)]
        fn read(cells: &mut Cells<'_>) -> Result<Self, SchemaError>;
        #[doc(hidden)]
        fn write(&self, line: &mut Line<'_>) -> Result<(), SchemaError>;
    }
}

use sealed::Cellular;

/// A type that is one row of a CSV of this suite.
pub trait Row: sealed::Cellular {}

impl<T: sealed::Cellular> Row for T {}

/// Cells of one record, handed out in the order of the schema's columns.
#[derive(Debug)]
pub struct Cells<'a> {
    record: &'a csv::StringRecord,
    columns: &'static [Column],
    places: &'a [Option<usize>],
    next: usize,
    line: u64,
}

impl<'a> Cells<'a> {
    /// The next column's cell; `None` if the file lacks the column, `Some("")` if the cell is empty.
    fn take(&mut self, name: &'static str) -> Option<&'a str> {
        debug_assert_eq!(
            self.columns[self.next].name, name,
            "cells are read in column order"
        );
        let place = self.places[self.next];
        self.next += 1;
        self.record.get(place?)
    }

    fn fault(&self, column: &'static str, found: &str, expected: &'static str) -> SchemaError {
        let mut end = found.len().min(EXCERPT);
        while !found.is_char_boundary(end) {
            end -= 1;
        }
        let mut excerpt = found[..end].to_owned();
        if end < found.len() {
            excerpt.push('…');
        }
        SchemaError::Cell {
            line: self.line,
            column,
            found: excerpt,
            expected,
        }
    }

    fn parse<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, SchemaError> {
        match self.take(name).map(str::trim) {
            None | Some("") => Ok(None),
            Some(cell) => parse(cell)
                .map(Some)
                .ok_or_else(|| self.fault(name, cell, expected)),
        }
    }

    fn demand<T>(
        &self,
        name: &'static str,
        value: Option<T>,
        expected: &'static str,
    ) -> Result<T, SchemaError> {
        value.ok_or_else(|| self.fault(name, "", expected))
    }

    /// Passes over a column without looking at it.
    pub(super) fn skip(&mut self, name: &'static str) {
        self.take(name);
    }

    pub(super) fn text_ref(&mut self, name: &'static str) -> &'a str {
        self.take(name).unwrap_or_default()
    }

    pub(super) fn text(&mut self, name: &'static str) -> String {
        self.take(name).unwrap_or_default().to_owned()
    }

    pub(super) fn opt_text(&mut self, name: &'static str) -> Option<String> {
        self.take(name)
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
    }

    pub(super) fn opt_int(&mut self, name: &'static str) -> Result<Option<u64>, SchemaError> {
        self.parse(name, parse_int, "a whole number")
    }

    pub(super) fn int(&mut self, name: &'static str) -> Result<u64, SchemaError> {
        let value = self.opt_int(name)?;
        self.demand(name, value, "a whole number")
    }

    pub(super) fn small_int(&mut self, name: &'static str) -> Result<u32, SchemaError> {
        let value = self.parse(
            name,
            |c| u32::try_from(parse_int(c)?).ok(),
            "a whole number below 2^32",
        )?;
        self.demand(name, value, "a whole number")
    }

    /// Which of two words the cell holds: `false` for the first.
    pub(super) fn one_of(
        &mut self,
        name: &'static str,
        words: [&str; 2],
        expected: &'static str,
    ) -> Result<Option<bool>, SchemaError> {
        let second = |cell: &str| {
            let at = words.iter().position(|word| *word == cell)?;
            Some(at == 1)
        };
        self.parse(name, second, expected)
    }

    /// `true` or `false`, as everybody writes them, capitals or not.
    pub(super) fn opt_bool(&mut self, name: &'static str) -> Result<Option<bool>, SchemaError> {
        let parse = |cell: &str| match cell {
            "true" | "True" => Some(true),
            "false" | "False" => Some(false),
            _ => None,
        };
        self.parse(name, parse, "true or false")
    }

    pub(super) fn opt_status(&mut self, name: &'static str) -> Result<Option<u16>, SchemaError> {
        self.parse(
            name,
            |c| u16::try_from(parse_int(c)?).ok(),
            "an HTTP status",
        )
    }

    pub(super) fn opt_float(&mut self, name: &'static str) -> Result<Option<f64>, SchemaError> {
        // pandas writes nan for nothing, and numpy inf for something divided by it.
        let parse = |c: &str| c.parse().ok().map(|v: f64| v.is_finite().then_some(v));
        Ok(self.parse(name, parse, "a number")?.flatten())
    }

    pub(super) fn float(&mut self, name: &'static str) -> Result<f64, SchemaError> {
        let value = self.parse(name, parse_float, "a number")?;
        self.demand(name, value, "a number")
    }

    /// A latency or speed: 0.0 is the originals' way to say undefined.
    pub(super) fn latency(&mut self, name: &'static str) -> Result<Option<f64>, SchemaError> {
        Ok(self.opt_float(name)?.filter(|v| *v != 0.0))
    }

    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        item: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, SchemaError> {
        Ok(self
            .parse(name, |c| parse_list(c, &item), "a list of numbers")?
            .unwrap_or_default())
    }

    pub(super) fn custom<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        expected: &'static str,
    ) -> Result<T, SchemaError> {
        let value = self.parse(name, parse, expected)?;
        self.demand(name, value, expected)
    }
}

/// A line being written, cell by cell in the order of the schema's columns.
#[derive(Debug)]
pub struct Line<'a> {
    out: &'a mut String,
    scratch: &'a mut String,
    table: &'static str,
    columns: &'static [Column],
    next: usize,
    set: SetColumns,
}

impl Line<'_> {
    /// Whether this column is written at all; puts the comma.
    fn begin(&mut self, name: &'static str) -> bool {
        let column = self.columns[self.next];
        debug_assert_eq!(column.name, name, "cells are written in column order");
        let wanted = self.set.has(column.need);
        // No schema begins with the working set, so the first column is always written.
        if wanted && self.next > 0 {
            self.out.push(',');
        }
        self.next += 1;
        wanted
    }

    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        if self.begin(name) {
            push_quoted(self.out, value);
        }
    }

    pub(super) fn opt_bool(&mut self, name: &'static str, value: Option<bool>) {
        if self.begin(name)
            && let Some(value) = value
        {
            self.out.push_str(if value { "true" } else { "false" });
        }
    }

    /// Numbers as a JSON list in one cell.
    pub(super) fn float_list(&mut self, name: &'static str, values: &[f64]) {
        let words: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
        self.text(name, &format!("[{}]", words.join(", ")));
    }

    pub(super) fn opt_int(&mut self, name: &'static str, value: Option<u64>) {
        if self.begin(name)
            && let Some(value) = value
        {
            render_int(self.out, value);
        }
    }

    pub(super) fn int(&mut self, name: &'static str, value: impl Into<u64>) {
        self.opt_int(name, Some(value.into()));
    }

    /// An undefined value, and one that is not finite, is an empty cell.
    pub(super) fn opt_float(&mut self, name: &'static str, value: Option<f64>) {
        if self.begin(name)
            && let Some(value) = value.filter(|v| v.is_finite())
        {
            render_float(self.out, value);
        }
    }

    pub(super) fn float(&mut self, name: &'static str, value: f64) -> Result<(), SchemaError> {
        if !value.is_finite() {
            return Err(SchemaError::NotFinite {
                column: name,
                table: self.table,
            });
        }
        self.opt_float(name, Some(value));
        Ok(())
    }

    pub(super) fn list<T: Copy>(
        &mut self,
        name: &'static str,
        items: &[T],
        render: impl Fn(&mut String, T),
    ) {
        if self.begin(name) {
            self.scratch.clear();
            render_list(self.scratch, items, render);
            push_quoted(self.out, self.scratch);
        }
    }
}

/// Where each column of a schema stands in a file.
#[derive(Debug)]
struct Header {
    places: Vec<Option<usize>>,
    width: usize,
}

impl Header {
    fn resolve<T: Cellular>(header: &csv::StringRecord) -> Result<Self, SchemaError> {
        if header.iter().all(|name| name.trim().is_empty()) {
            return Err(SchemaError::Empty);
        }
        let mut places = Vec::with_capacity(T::COLUMNS.len());
        for column in T::COLUMNS {
            let place = header.iter().position(|name| name.trim() == column.name);
            if place.is_none() && column.need == Need::Required {
                return Err(SchemaError::MissingColumn {
                    column: column.name,
                    table: T::TABLE,
                });
            }
            places.push(place);
        }
        Ok(Self {
            places,
            width: header.len(),
        })
    }
}

/// Reads rows one by one; one result per row, and after a broken row the next one.
#[derive(Debug)]
pub struct RowReader<R, T> {
    input: csv::Reader<R>,
    header: Header,
    record: csv::StringRecord,
    ended: bool,
    row: PhantomData<fn() -> T>,
}

impl<R: Read, T: Row> RowReader<R, T> {
    /// Reads the header.
    ///
    /// # Errors
    /// When there is no header, it lacks a required column, or reading fails.
    pub fn new(input: R) -> Result<Self, SchemaError> {
        // Lengths are checked here, so that a short row is one bad row and not the end of the file.
        let mut input = csv::ReaderBuilder::new()
            .flexible(true)
            .buffer_capacity(64 * 1024)
            .from_reader(input);
        let header = Header::resolve::<T>(input.headers()?)?;
        Ok(Self {
            input,
            header,
            record: csv::StringRecord::new(),
            ended: false,
            row: PhantomData,
        })
    }

    /// Whether the file has this column of the schema.
    #[must_use]
    pub fn has_column(&self, name: &str) -> bool {
        T::COLUMNS
            .iter()
            .zip(&self.header.places)
            .any(|(column, place)| column.name == name && place.is_some())
    }

    /// The next row as `read` sees it.
    pub(super) fn next_with<V>(
        &mut self,
        read: impl FnOnce(&mut Cells<'_>) -> Result<V, SchemaError>,
    ) -> Option<Result<V, SchemaError>> {
        if self.ended {
            return None;
        }
        match self.input.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => {
                self.ended = true;
                return None;
            }
            Err(error) => {
                // After a failed read there is no next row; a row that is no UTF-8 is only one bad row.
                self.ended = matches!(error.kind(), csv::ErrorKind::Io(_));
                return Some(Err(error.into()));
            }
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        if self.record.len() != self.header.width {
            return Some(Err(SchemaError::Length {
                line,
                found: self.record.len(),
                expected: self.header.width,
            }));
        }
        let mut cells = Cells {
            record: &self.record,
            columns: T::COLUMNS,
            places: &self.header.places,
            next: 0,
            line,
        };
        Some(read(&mut cells))
    }
}

impl<R: Read, T: Row> Iterator for RowReader<R, T> {
    type Item = Result<T, SchemaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(T::read)
    }
}

/// Writes rows. Each call hands whole lines to the writer in one piece, so that a file it appends to is
/// valid CSV after every call.
#[derive(Debug)]
pub struct RowWriter<W, T> {
    output: W,
    set: SetColumns,
    lines: String,
    scratch: String,
    row: PhantomData<fn(&T)>,
}

impl<W: Write, T: Row> RowWriter<W, T> {
    /// Starts a file: writes the header.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn new(mut output: W, set: impl Into<SetColumns>) -> Result<Self, SchemaError> {
        let set = set.into();
        output.write_all(header_line::<T>(set).as_bytes())?;
        Ok(Self::append(output, set))
    }

    /// Goes on with a file that has this header already.
    #[must_use]
    pub fn append(output: W, set: impl Into<SetColumns>) -> Self {
        Self {
            output,
            set: set.into(),
            lines: String::new(),
            scratch: String::new(),
            row: PhantomData,
        }
    }

    /// Writes one row.
    ///
    /// # Errors
    /// When a required number is not finite, then nothing is written; or when the writer fails.
    pub fn write(&mut self, row: &T) -> Result<(), SchemaError> {
        self.write_all(std::slice::from_ref(row))
    }

    /// Writes rows in one piece.
    ///
    /// # Errors
    /// When a required number is not finite, then nothing is written; or when the writer fails.
    pub fn write_all(&mut self, rows: &[T]) -> Result<(), SchemaError> {
        self.write_each(rows, T::write)
    }

    pub(super) fn write_each<V>(
        &mut self,
        rows: &[V],
        write: impl Fn(&V, &mut Line<'_>) -> Result<(), SchemaError>,
    ) -> Result<(), SchemaError> {
        self.lines.clear();
        for row in rows {
            let mut line = Line {
                out: &mut self.lines,
                scratch: &mut self.scratch,
                table: T::TABLE,
                columns: T::COLUMNS,
                next: 0,
                set: self.set,
            };
            write(row, &mut line)?;
            debug_assert_eq!(line.next, T::COLUMNS.len(), "every column has a cell");
            self.lines.push('\n');
        }
        Ok(self.output.write_all(self.lines.as_bytes())?)
    }

    /// Flushes the writer.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn flush(&mut self) -> Result<(), SchemaError> {
        Ok(self.output.flush()?)
    }

    /// The writer underneath.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Gives the writer back.
    pub fn into_inner(self) -> W {
        self.output
    }
}

/// The header of a schema, with its line end.
pub(super) fn header_line<T: Cellular>(set: SetColumns) -> String {
    let names: Vec<&str> = T::COLUMNS
        .iter()
        .filter(|c| set.has(c.need))
        .map(|c| c.name)
        .collect();
    names.join(",") + "\n"
}
