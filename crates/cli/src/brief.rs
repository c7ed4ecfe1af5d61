//! The `--brief` report: a few `key: value` lines, a table with commas, a few more lines.
//!
//! Promise: pure, without colours, without thousands separators; the header row stands there even when
//! no row follows, so that a script can read it without asking whether there is anything to read.

/// A report for scripts; each tool fills in its own keys and columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BriefReport<'a> {
    /// Lines before the table.
    pub head: Vec<(&'a str, String)>,
    /// Column names.
    pub columns: &'a [&'a str],
    /// Cells, in the order of the columns; an undefined value is an empty cell.
    pub rows: Vec<Vec<String>>,
    /// Lines after the table.
    pub tail: Vec<(&'a str, String)>,
    /// Lines after those, behind an empty one where there are any.
    pub footer: Vec<(&'a str, String)>,
}

impl BriefReport<'_> {
    /// The lines of the report.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let pair = |(key, value): &(&str, String)| format!("{key}: {}", flat(value));
        let mut lines: Vec<String> = self.head.iter().map(pair).collect();
        lines.push(String::new());
        lines.push(self.columns.join(","));
        lines.extend(self.rows.iter().map(|row| {
            row.iter()
                .map(|cell| quoted(cell))
                .collect::<Vec<_>>()
                .join(",")
        }));
        lines.push(String::new());
        lines.extend(self.tail.iter().map(pair));
        if !self.footer.is_empty() {
            lines.push(String::new());
            lines.extend(self.footer.iter().map(pair));
        }
        lines
    }

    /// The report as it goes to stdout.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.lines().join("\n");
        text.push('\n');
        text
    }
}

/// A rate as a whole number.
#[must_use]
pub fn whole(value: Option<f64>) -> String {
    value
        .filter(|v| v.is_finite())
        .map(|v| format!("{v:.0}"))
        .unwrap_or_default()
}

/// Seconds with three decimals.
#[must_use]
pub fn millis(value: Option<f64>) -> String {
    value
        .filter(|v| v.is_finite())
        .map(|v| format!("{v:.3}"))
        .unwrap_or_default()
}

/// A server may call its model anything; a report line stays one line.
fn flat(value: &str) -> String {
    value
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn quoted(cell: &str) -> String {
    let cell = flat(cell);
    if cell.contains([',', '"']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_there_without_rows() {
        let report = BriefReport {
            head: vec![("model", "m".into())],
            columns: &["a", "b"],
            ..BriefReport::default()
        };
        assert_eq!(report.text(), "model: m\n\na,b\n\n");
    }

    #[test]
    fn foreign_text_cannot_break_a_line_or_a_column() {
        let report = BriefReport {
            head: vec![("model", "a\nb".into())],
            columns: &["name", "n"],
            rows: vec![vec!["x, \"y\"".into(), "1".into()]],
            ..BriefReport::default()
        };
        assert_eq!(
            report.lines(),
            ["model: a b", "", "name,n", "\"x, \"\"y\"\"\",1", ""]
        );
    }

    #[test]
    fn a_footer_stands_apart() {
        let report = BriefReport {
            tail: vec![("total", "3".into())],
            footer: vec![("output", "out".into())],
            ..BriefReport::default()
        };
        assert!(report.text().ends_with("\ntotal: 3\n\noutput: out\n"));
    }

    #[test]
    fn undefined_is_an_empty_cell() {
        assert_eq!(
            (
                whole(None),
                whole(Some(13_732.6)),
                millis(Some(1.1206)),
                millis(Some(f64::NAN))
            ),
            (String::new(), "13733".into(), "1.121".into(), String::new())
        );
    }
}
