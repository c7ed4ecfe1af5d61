//! Plain text tables with fixed column widths, for the log.
//!
//! Promise: pure; a cell that is wider than its column pushes the row to the right and is never cut,
//! for a number without its first digits is worse than a crooked table.

use std::iter;

/// One column: its heading, width in characters, and side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub title: &'static str,
    /// Characters; cells are padded to it.
    pub width: usize,
    /// Whether cells stand at the left; numbers belong to the right.
    pub left: bool,
}

impl Column {
    /// A column of numbers: right-aligned.
    #[must_use]
    pub const fn right(title: &'static str, width: usize) -> Self {
        Self {
            title,
            width,
            left: false,
        }
    }

    /// A column of names: left-aligned.
    #[must_use]
    pub const fn left(title: &'static str, width: usize) -> Self {
        Self {
            title,
            width,
            left: true,
        }
    }

    fn pad(self, cell: &str) -> String {
        let width = self.width;
        if self.left {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    }
}

/// The heading row, without trailing blanks.
#[must_use]
pub fn header(columns: &[Column]) -> String {
    row(columns, columns.iter().map(|column| column.title))
}

/// One row, without trailing blanks. Missing cells are blank; cells beyond the columns are ignored.
#[must_use]
pub fn row<S: AsRef<str>>(columns: &[Column], cells: impl IntoIterator<Item = S>) -> String {
    let cells = cells
        .into_iter()
        .map(|cell| cell.as_ref().to_owned())
        .chain(iter::repeat(String::new()));
    let mut text = String::new();
    for (column, cell) in columns.iter().zip(cells) {
        // A cell that overflows still needs a gap to its left neighbour.
        if !text.is_empty()
            && cell.chars().count() >= column.width
            && !cell.is_empty()
            && !text.ends_with(' ')
        {
            text.push(' ');
        }
        text.push_str(&column.pad(&cell));
    }
    text.truncate(text.trim_end().len());
    text
}

/// A horizontal rule.
#[must_use]
pub fn rule(character: char, width: usize) -> String {
    iter::repeat_n(character, width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::left("Run", 10),
        Column::right("Input", 8),
        Column::right("TTFT", 6),
    ];

    #[test]
    fn numbers_stand_right_and_names_left() {
        assert_eq!(header(&COLUMNS), "Run          Input  TTFT");
        assert_eq!(
            row(&COLUMNS, ["RETRY1", "1,234", "0.5"]),
            "RETRY1       1,234   0.5"
        );
    }

    #[test]
    fn a_wide_cell_is_kept_whole_and_apart() {
        assert_eq!(
            row(&COLUMNS, ["a", "123456789", "1"]),
            "a         123456789     1"
        );
        assert_eq!(
            row(&COLUMNS, ["abcdefghij", "123456789", "1"]),
            "abcdefghij 123456789     1"
        );
    }

    #[test]
    fn missing_cells_are_blank() {
        assert_eq!(row(&COLUMNS, ["TOTAL"]), "TOTAL");
        assert_eq!(rule('=', 5), "=====");
    }
}
