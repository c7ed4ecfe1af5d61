//! JSON text exactly as Python's `json.dumps(value, sort_keys=True)` prints it.
//!
//! Promise: equal values give equal text here and there, so a `test_id` made by the original and one
//! made by us agree. Refuses nothing: every JSON value has such a text.

use std::fmt::Write as _;

use serde_json::Value;

/// The text: keys sorted by code point, `", "` and `": "` as separators, everything outside ASCII
/// escaped.
pub(crate) fn dumps(value: &Value) -> String {
    let mut text = String::new();
    push_value(&mut text, value);
    text
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => push_float(out, float),
            _ => push(out, number),
        },
        Value::String(text) => push_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            // UTF-8 sorts as code points do, which is how Python compares strings.
            entries.sort_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                push_string(out, key);
                out.push_str(": ");
                push_value(out, item);
            }
            out.push('}');
        }
    }
}

fn push(out: &mut String, value: &impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to a String cannot fail");
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push(out, &format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

/// Python's `repr` of a float: shortest digits that read back as the same number, positional while the
/// decimal exponent lies in −4..16, otherwise with an exponent of at least two digits.
fn push_float(out: &mut String, value: f64) {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("`{:e}` always writes an exponent for a finite number");
    let exponent: i32 = exponent
        .parse()
        .expect("the exponent of an f64 fits an i32");
    if (-4..16).contains(&exponent) {
        let positional = format!("{value}");
        out.push_str(&positional);
        if !positional.contains('.') {
            out.push_str(".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        push(
            out,
            &format_args!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The right-hand sides were printed by CPython 3.
    #[test]
    fn texts_are_those_of_python() {
        let check = |value: Value, expected: &str| assert_eq!(dumps(&value), expected);
        check(json!(null), "null");
        check(json!([true, false]), "[true, false]");
        check(
            json!([0, -5, 18_446_744_073_709_551_615u64]),
            "[0, -5, 18446744073709551615]",
        );
        check(
            json!([
                0.5,
                2.0,
                100.0,
                1e-4,
                1e-5,
                1.5e-7,
                1e15,
                1e16,
                1.25e22,
                -0.0,
                123456789.125
            ]),
            "[0.5, 2.0, 100.0, 0.0001, 1e-05, 1.5e-07, 1000000000000000.0, 1e+16, 1.25e+22, -0.0, 123456789.125]",
        );
        check(
            json!("q\"b\\n\nt\tr\r\u{8}\u{c}\u{0}\u{7f}é✓😀/"),
            r#""q\"b\\n\nt\tr\r\b\f\u0000\u007f\u00e9\u2713\ud83d\ude00/""#,
        );
        check(
            json!({"b": [], "a": {}, "B": {"z": 1, "y": [1, {"x": null}]}}),
            r#"{"B": {"y": [1, {"x": null}], "z": 1}, "a": {}, "b": []}"#,
        );
    }
}
