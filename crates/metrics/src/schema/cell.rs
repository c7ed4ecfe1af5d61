//! Single cells: text to values and back.
//!
//! Promise: `parse_float(render_float(x)) == x` for every finite x; whole numbers are read exactly up to
//! 2⁶⁴ − 1 in plain form and up to 2⁵³ in the `800.0` form.

use std::fmt::Write as _;

/// Largest whole number below which every f64 in `800.0` form is exact.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A whole number, also as `800.0`.
pub(super) fn parse_int(cell: &str) -> Option<u64> {
    cell.parse().ok().or_else(|| {
        let value: f64 = cell.parse().ok()?;
        let whole = value.fract() == 0.0 && (0.0..=EXACT_FLOAT).contains(&value);
        whole.then_some(value as u64)
    })
}

/// A finite number.
pub(super) fn parse_float(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|v: &f64| v.is_finite())
}

/// A flat list of numbers as Python's `json.dumps` writes it, or JSON in any spacing.
pub(super) fn parse_list<T>(cell: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let inner = cell.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner.split(',').map(|part| item(part.trim())).collect()
}

/// Shortest form that reads back equal, with `.0` on whole numbers as Python prints them.
pub(super) fn render_float(out: &mut String, value: f64) {
    // Rust's Debug form of f64 is exactly that.
    write!(out, "{value:?}").expect("writing to a string cannot fail");
}

/// A whole number.
pub(super) fn render_int(out: &mut String, value: u64) {
    write!(out, "{value}").expect("writing to a string cannot fail");
}

/// A list with ", " between items.
pub(super) fn render_list<T: Copy>(out: &mut String, items: &[T], render: impl Fn(&mut String, T)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        render(out, *item);
    }
    out.push(']');
}

/// Appends one cell, quoted only if it has to be.
pub(super) fn push_quoted(line: &mut String, cell: &str) {
    if cell
        .bytes()
        .any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r'))
    {
        line.push('"');
        for part in cell.split_inclusive('"') {
            line.push_str(part);
            if part.ends_with('"') {
                line.push('"');
            }
        }
        line.push('"');
    } else {
        line.push_str(cell);
    }
}
