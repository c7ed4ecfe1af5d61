//! Widths of text without a font: an estimate that is a little generous, so that boxes never burst.

/// Estimated width of one character at size 1.
fn advance(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.32,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '/' | '-' => 0.40,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.92,
        '0'..='9' => 0.62,
        'A'..='Z' => 0.70,
        c if c.is_ascii() => 0.60,
        // Wide scripts and pictures; everything else that is not Latin is taken as wide too.
        '\u{2e80}'.. => 1.05,
        _ => 0.65,
    }
}

/// Estimated width of `text` at this font size.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// As [`width`], for bold letters.
pub(super) fn width_bold(text: &str, size: f64) -> f64 {
    width(text, size) * BOLD
}

/// How much wider bold letters are.
const BOLD: f64 = 1.1;

/// As [`wrap`], for bold letters.
pub(super) fn wrap_bold(text: &str, size: f64, limit: f64) -> Vec<String> {
    wrap(text, size * BOLD, limit)
}

/// Breaks `text` into lines no wider than `limit`, at ` | ` first and at spaces else. A single word
/// that is too wide is cut, with an ellipsis.
pub(super) fn wrap(text: &str, size: f64, limit: f64) -> Vec<String> {
    if width(text, size) <= limit {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let candidate = if line.is_empty() {
            word.to_owned()
        } else {
            format!("{line} {word}")
        };
        if width(&candidate, size) <= limit {
            line = candidate;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        line = cut(word, size, limit);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    // A separator left over at a line's end says nothing.
    for line in &mut lines {
        if let Some(rest) = line.strip_suffix(" |") {
            *line = rest.to_owned();
        }
        if let Some(rest) = line.strip_prefix("| ") {
            *line = rest.to_owned();
        }
    }
    lines
}

/// The text itself, or as much of it as fits followed by an ellipsis.
pub(super) fn cut(text: &str, size: f64, limit: f64) -> String {
    if width(text, size) <= limit {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = width("…", size);
    for c in text.chars() {
        used += advance(c) * size;
        if used > limit {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::{cut, width, wrap};
    use proptest::prelude::*;

    #[test]
    fn a_long_line_breaks_at_spaces_and_drops_dangling_separators() {
        let lines = wrap(
            "Summary: 1.0M input tokens | Avg TTFT: 0.100s | Total Requests: 9",
            12.0,
            220.0,
        );
        assert!(lines.len() > 1);
        assert!(
            lines
                .iter()
                .all(|l| !l.ends_with('|') && !l.starts_with('|')),
            "{lines:?}"
        );
    }

    proptest! {
        /// No line is wider than the limit, whatever the text.
        #[test]
        fn wrapped_lines_fit(text in "\\PC{0,300}", limit in 30.0f64..400.0) {
            for line in wrap(&text, 12.0, limit) {
                prop_assert!(width(&line, 12.0) <= limit + 1e-9, "{line:?}");
            }
            prop_assert!(width(&cut(&text, 12.0, limit), 12.0) <= limit + 1e-9);
        }
    }
}
