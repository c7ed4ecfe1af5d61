//! The values of a chart as JSON inside a `<script>` element that is never executed.

use serde::Serialize;
use serde_json::{Value, json};

use crate::chart::{Axis, Body, Chart, NumberFormat, Panel, SeriesStyle, Side};
use crate::svg::scale::Scale;
use crate::svg::{Drawing, Frame};

/// JSON text that is safe inside `<script>` and inside XML: `<`, `>` and `&` are written as escapes.
pub(super) fn embed(chart: &Chart, wide: &Drawing, narrow: &Drawing) -> String {
    let value = json!({
        "title": chart.title,
        "stem": chart.stem,
        "panels": chart.panels.iter().map(panel).collect::<Vec<_>>(),
        "layouts": { "wide": frames(wide), "narrow": frames(narrow) },
    });
    safe_json(&value)
}

/// Serialises with `<`, `>`, `&` and the line separators of JavaScript escaped.
pub(crate) fn safe_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("plain values serialise");
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            // XML knows neither these two nor unescaped control characters, which JSON has escaped.
            '\u{fffe}' => out.push_str("\\ufffe"),
            '\u{ffff}' => out.push_str("\\uffff"),
            c => out.push(c),
        }
    }
    out
}

fn frames(drawing: &Drawing) -> Value {
    drawing.panels.iter().map(frame).collect()
}

fn frame(frame: &Frame) -> Value {
    let plot = frame.plot;
    json!({
        "plot": [round(plot.left), round(plot.top), round(plot.width), round(plot.height)],
        "x": scale(&frame.x),
        "y": scale(&frame.y),
        "y2": frame.y2.as_ref().map(scale),
    })
}

fn scale(scale: &Scale) -> Value {
    if scale.categories.is_empty() {
        json!([scale.min, scale.max, scale.log])
    } else {
        json!([scale.min, scale.max, scale.log, scale.categories])
    }
}

fn round(units: f64) -> f64 {
    (units * 10.0).round() / 10.0
}

fn format(format: NumberFormat) -> Value {
    json!([format.decimals, format.suffix])
}

fn axis(axis: &Axis) -> Value {
    json!({ "title": axis.title, "format": format(axis.format) })
}

fn panel(panel: &Panel) -> Value {
    let series: Vec<Value> = match &panel.body {
        Body::Series(series) => series
            .iter()
            .map(|s| {
                let band = s.style == SeriesStyle::Band;
                let points: Vec<Value> = s
                    .points
                    .iter()
                    .filter_map(|p| match (band, p.range, p.y) {
                        (true, Some((low, high)), _) => Some(json!([p.x, low, high])),
                        (false, _, Some(y)) => Some(
                            p.note
                                .as_ref()
                                .map_or_else(|| json!([p.x, y]), |n| json!([p.x, y, n])),
                        ),
                        _ => None,
                    })
                    .collect();
                json!({
                    "key": s.key,
                    "name": s.name,
                    "class": s.ink.class(),
                    "kind": match s.style {
                        SeriesStyle::Band => "band",
                        SeriesStyle::Bars { .. } => "bar",
                        SeriesStyle::Line { .. } | SeriesStyle::Area { .. } => "line",
                    },
                    "right": s.side == Side::Right,
                    "format": format(s.format),
                    "points": points,
                })
            })
            .collect(),
        Body::Heat(grid) => grid
            .rows
            .iter()
            .map(|row| {
                let known = grid
                    .columns
                    .iter()
                    .zip(&row.cells)
                    .filter_map(|(x, cell)| cell.map(|y| json!([x, y])));
                json!({
                    "key": format!("row-{}", row.name),
                    "name": row.name,
                    "class": "",
                    "kind": "heat",
                    "right": false,
                    "format": format(grid.format),
                    "points": known.collect::<Vec<_>>(),
                })
            })
            .collect(),
    };
    json!({ "title": panel.title, "x": axis(&panel.x), "series": series })
}

#[cfg(test)]
mod tests {
    use super::safe_json;

    #[test]
    fn embedded_json_cannot_end_its_element_and_still_means_the_same() {
        let nasty = "</script><script>alert('&')</script> \u{2028} \u{1f600} \u{0} \u{ffff}";
        let text = safe_json(&nasty);
        assert!(!text.contains('<') && !text.contains('&') && !text.contains('\u{2028}'));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), nasty);
    }
}
