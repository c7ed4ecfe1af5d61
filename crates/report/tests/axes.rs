//! Axes: numbers of any size end in a picture, panels of one figure share a scale, and no line hides another.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop a test")]

#[path = "support/prepared.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::{attribute, context, page_data, parse_svg, rate_point};
use report::catalogue::{
    RatePoint, SetLine, input_throughput_comparison, ttft_heatmap, working_set_charts,
    write_comparison_charts, write_test_charts,
};
use report::chart::Chart;
use report::data::RunData;
use report::page::{PageContext, chart_page};
use report::svg::{Layout, draw};
use roxmltree::Document;

const LAYOUTS: [Layout; 3] = [Layout::Wide, Layout::Narrow, Layout::Preview];

/// A point whose throughput is this in both directions, everything else as usual.
fn point(rate: u32, input: f64) -> RatePoint {
    let mut point = rate_point(rate);
    (point.input.mean, point.input.min, point.input.max) = (input, input, input);
    point.output = point.input;
    point
}

/// Panels of a chart whose left axis has this title: the axis as its page tells the script, from, to, logarithmic.
fn left_axes(chart: &Chart, title: &str) -> Vec<serde_json::Value> {
    let page = page_data(&chart_page(chart, &PageContext::default()));
    let frames = page["layouts"]["wide"].as_array().unwrap();
    let titled = chart.panels.iter().zip(frames);
    titled
        .filter(|(panel, _)| panel.y.title == title)
        .map(|(_, frame)| frame["y"].clone())
        .collect()
}

/// A cell of 1.7e308 beside an ordinary value took all memory, one of 5e-324 all time.
#[test]
fn a_file_with_numbers_at_the_ends_of_all_numbers_is_drawn() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cache_rate_ramp");
    for extreme in ["1.7e308", "5e-324"] {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&source).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let mut text = fs::read_to_string(entry.path()).unwrap();
            if name.starts_with("summary_") && name.ends_with(".csv") {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                let header: Vec<&str> = lines[0].split(',').collect();
                let columns: Vec<usize> = ["input_tokens_per_sec", "avg_ttft"]
                    .iter()
                    .map(|column| header.iter().position(|cell| cell == column).unwrap())
                    .collect();
                let mut cells: Vec<&str> = lines[1].split(',').collect();
                for column in columns {
                    cells[column] = extreme;
                }
                lines[1] = cells.join(",");
                text = lines.join("\n") + "\n";
            }
            // Without the requests, charts show what the summary says.
            if !name.starts_with("detailed_results_") && !name.starts_with("phase_metadata_") {
                fs::write(dir.path().join(name), text).unwrap();
            }
        }
        let data = RunData::read(dir.path());
        let context = PageContext::default();
        write_comparison_charts(dir.path(), &data, &context).unwrap();
        write_test_charts(dir.path(), &data, &context).unwrap();
        report::index::write_index(dir.path(), "1").unwrap();
    }
    for (low, high) in [(5e-324, 1.7e308), (5e-324, 5e-324), (1.0, f64::MAX)] {
        let mut contexts = [context(800, &[0, 50, 100]), context(1_600, &[0, 100])];
        for (place, value) in [(0, low), (1, high)] {
            contexts[0].points[place] = point(contexts[0].points[place].rate, value);
            contexts[0].points[place].summary_ttft = Some(value);
        }
        let charts = [
            Some(input_throughput_comparison(&contexts)),
            ttft_heatmap(&contexts),
        ];
        for chart in charts.iter().flatten() {
            for layout in LAYOUTS {
                let drawing = draw(chart, layout);
                let doc = parse_svg(&drawing.svg);
                assert!(!drawing.svg.contains("NaN") && !drawing.svg.contains("inf"));
                for node in doc.descendants().filter(|n| n.is_element()) {
                    for (names, limit) in
                        [(["x", "cx"], drawing.width), (["y", "cy"], drawing.height)]
                    {
                        for value in names.iter().filter_map(|name| attribute(node, name)) {
                            assert!((-0.5..=limit + 0.5).contains(&value), "{node:?}");
                        }
                    }
                }
            }
        }
    }
}

/// Lines over two sizes of a working set, at two rates: the first spans three decades, the second hardly anything.
fn uneven() -> Vec<SetLine> {
    let line = |rate: u32, values: [f64; 2]| SetLine {
        context_size: 800,
        cache_hit_rate: rate,
        points: vec![
            (4_000, point(rate, values[0])),
            (8_000, point(rate, values[1])),
        ],
    };
    vec![line(50, [90_000.0, 30.0]), line(100, [7_000.0, 9_000.0])]
}

/// The panel of one rate was logarithmic, that of another linear, with a range that was half the other's.
#[test]
fn panels_of_one_figure_have_one_kind_of_axis_and_one_range() {
    let charts = working_set_charts(&uneven(), Some(2.0));
    let mut n_pairs = 0;
    for chart in &charts {
        let axes = left_axes(chart, "Input Tokens/s");
        for pair in axes.windows(2) {
            assert_eq!(pair[0], pair[1], "{}", chart.stem);
            assert_eq!(pair[0][2], true, "{}", chart.stem);
            n_pairs += 1;
        }
        for panel in chart.panels.iter().filter(|p| p.y2.is_some()) {
            let right = panel.y2.as_ref().unwrap();
            assert_eq!(
                panel.y.range.is_log(),
                right.range.is_log(),
                "{}",
                chart.stem
            );
        }
    }
    assert_eq!(n_pairs, 2, "performance and comparison");
}

/// An axis of several panels was named once for each.
#[test]
fn a_logarithmic_axis_is_named_once() {
    let mut lines = uneven();
    lines.extend(uneven().into_iter().map(|line| SetLine {
        context_size: 1_600,
        ..line
    }));
    let notes = working_set_charts(&lines, None)
        .into_iter()
        .flat_map(|chart| chart.captions)
        .filter(|caption| caption.starts_with("Logarithmic"));
    let mut n_notes = 0;
    for note in notes {
        for title in ["Input Tokens/s", "Output Tokens/s", "Speedup"] {
            assert!(note.matches(title).count() < 2, "{note}");
        }
        n_notes += 1;
    }
    assert!(n_notes > 0);
}

/// Middles of the markers of one series, in SVG units.
fn markers(doc: &Document<'_>, key: &str) -> Vec<(f64, f64)> {
    let of_series = |n: &roxmltree::Node<'_, '_>| {
        n.attribute("data-key") == Some(key) && n.attribute("class") == Some("series")
    };
    let series = doc.descendants().find(of_series).unwrap();
    let marks = series
        .children()
        .find(|n| n.attribute("class").is_some_and(|c| c.starts_with("mk")));
    let shapes = marks.unwrap().descendants().filter(|n| n.is_element());
    shapes
        .filter_map(|shape| {
            if let (Some(x), Some(y)) = (attribute(shape, "cx"), attribute(shape, "cy")) {
                return Some((x, y));
            }
            let outline = shape.attribute("points").or(shape.attribute("d"))?;
            let numbers: Vec<f64> = outline
                .split(|c: char| !c.is_ascii_digit() && c != '.' && c != '-')
                .filter_map(|number| number.parse().ok())
                .collect();
            let corners = numbers.chunks(2);
            let n = corners.len() as f64;
            let (x, y) = corners.fold((0.0, 0.0), |(x, y), at| (x + at[0], y + at[1]));
            Some((x / n, y / n))
        })
        .collect()
}

/// On two logarithmic axes the multiples of a lone line lay on the line itself, point on point.
#[test]
fn a_lone_lines_speedup_does_not_hide_it() {
    for values in [[100.0, 2_000.0, 90_000.0], [1_000.0, 2_500.0, 4_000.0]] {
        let mut lone = context(800, &[0, 50, 100]);
        for (point, value) in lone.points.iter_mut().zip(values) {
            point.input.mean = value;
        }
        let chart = input_throughput_comparison(std::slice::from_ref(&lone));
        for layout in LAYOUTS {
            let drawing = draw(&chart, layout);
            let doc = parse_svg(&drawing.svg);
            let line = markers(&doc, "ctx-800");
            let speedup = markers(&doc, "ctx-800-speedup");
            assert_eq!((line.len(), speedup.len()), (3, 3));
            for (a, b) in line.iter().zip(&speedup) {
                assert!((a.0 - b.0).abs() < 0.2, "{a:?} {b:?}");
                assert!(
                    (a.1 - b.1).abs() > 4.0,
                    "{layout:?} {values:?}: {a:?} {b:?}"
                );
            }
        }
    }
}
