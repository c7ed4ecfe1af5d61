//! Charts from prepared figures to finished pages: published wording, well-formed markup, nothing from
//! outside executed, every number where the script looks for it.

#[path = "support/prepared.rs"]
mod common;

use std::collections::HashSet;

use common::{
    attribute, concurrency, context, elements, page_data, parse_page, parse_svg, performance,
    points, rate_point, sustained,
};
use proptest::prelude::*;
use report::catalogue::{
    ConcurrencyInput, ContextPoints, LevelSource, WindowKind, concurrency_chart,
    input_throughput_comparison, output_metrics_comparison, output_throughput_comparison,
    sustained_chart, sustained_comparison, ttft_heatmap,
};
use report::chart::{
    Axis, AxisRange, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Orientation, Panel,
    Point, RefLine, Series, SeriesStyle, Side, Ticks,
};
use report::page::{PageContext, chart_page};
use report::svg::{Layout, draw, render};

const LAYOUTS: [Layout; 3] = [Layout::Wide, Layout::Narrow, Layout::Preview];

/// Every chart of the catalogue, made of these rates and levels.
fn catalogue(rates: &[u32], levels: &[u32]) -> Vec<Chart> {
    let contexts = [
        context(800, rates),
        context(1_600, rates),
        context(32_000, rates),
    ];
    let mut charts = vec![
        concurrency_chart(&concurrency(WindowKind::Ramp, levels)),
        concurrency_chart(&concurrency(WindowKind::Fixed, levels)),
        performance(contexts[0].points.clone()),
        input_throughput_comparison(&contexts),
        output_throughput_comparison(&contexts),
        output_metrics_comparison(&contexts),
        sustained_chart(&sustained(8_000, 4)),
    ];
    charts.extend(sustained_comparison(&[
        sustained(8_000, 4),
        sustained(32_000, 3),
    ]));
    charts.extend(ttft_heatmap(&contexts));
    charts
}

#[test]
fn speedups_are_relative_to_the_lowest_rate_and_skipped_where_it_has_none() {
    let mut late = context(800, &[25, 50, 100]);
    late.points[0].input.mean = 200.0;
    late.points[1].input.mean = 500.0;
    late.points[2].input.mean = 800.0;
    let chart = input_throughput_comparison(std::slice::from_ref(&late));
    assert_eq!(
        chart.panels[0].y2.as_ref().unwrap().title,
        "Speedup (relative to 25% cache)"
    );
    let values: Vec<_> = chart.panels[0].series()[1]
        .points
        .iter()
        .map(|p| p.y.unwrap())
        .collect();
    assert_eq!(values, [1.0, 2.5, 4.0]);
    late.points[0].input.mean = 0.0;
    let chart = input_throughput_comparison(&[late]);
    assert_eq!(chart.panels[0].series().len(), 1);
    assert_eq!(chart.panels[0].y2, None);
}

#[test]
fn captions_say_which_throughput_is_drawn() {
    use metrics::retry::RateSource;
    let with = |sources: &[RateSource]| {
        let mut points = points(&[0, 50, 100]);
        for (p, s) in points.iter_mut().zip(sources.iter().cycle()) {
            p.source = *s;
        }
        performance(points).captions.join(" ")
    };
    assert!(with(&[RateSource::Window]).starts_with("Throughput is window-accounted"));
    assert!(with(&[RateSource::PhaseDuration]).contains("originals' formula"));
    assert!(with(&[RateSource::Strict]).contains("strict time window"));
    let mixed = with(&[RateSource::Window, RateSource::SummaryPublished]);
    assert!(
        mixed.contains("window-accounted") && mixed.contains("Hollow markers"),
        "{mixed}"
    );
    let ramp = |source| {
        let input = ConcurrencyInput {
            source,
            ..concurrency(WindowKind::Ramp, &[1, 2])
        };
        concurrency_chart(&input).captions.join(" ")
    };
    assert!(ramp(LevelSource::Window).contains("window-accounted: each"));
    assert!(ramp(LevelSource::Published).contains("originals' formula"));
}

/// Comparisons draw no band, and their captions explained one.
#[test]
fn captions_speak_of_bands_only_where_there_are_some() {
    let mut n_bands = 0;
    for chart in catalogue(&[0, 50, 100], &[1, 2, 4]) {
        let told = chart.captions.iter().any(|c| c.contains("bands run"));
        let all = chart.panels.iter().flat_map(|p| p.series());
        let drawn = all.into_iter().any(|s| s.style == SeriesStyle::Band);
        assert_eq!(told, drawn, "{}", chart.stem);
        n_bands += u32::from(drawn);
    }
    assert!(n_bands > 0);
}

#[test]
fn every_chart_is_well_formed_with_no_point_one_and_two_thousand() {
    let many: Vec<u32> = (1..=2_000).collect();
    let rates: Vec<u32> = (0..=100).collect();
    for (rates, levels) in [
        (&[][..], &[][..]),
        (&[50][..], &[4][..]),
        (&rates[..], &many[..]),
    ] {
        for chart in catalogue(rates, levels) {
            for layout in LAYOUTS {
                let drawing = draw(&chart, layout);
                let doc = parse_svg(&drawing.svg);
                assert!(
                    !drawing.svg.contains("NaN") && !drawing.svg.contains("inf"),
                    "{}",
                    chart.stem
                );
                assert_inside(&doc, drawing.width, drawing.height, &chart.stem);
            }
            let page = chart_page(&chart, &PageContext::default());
            parse_page(&page);
        }
    }
}

/// No rectangle, circle or text begins outside the picture.
fn assert_inside(doc: &roxmltree::Document<'_>, width: f64, height: f64, what: &str) {
    for node in doc.descendants().filter(|n| n.is_element()) {
        for (names, limit) in [(["x", "cx"], width), (["y", "cy"], height)] {
            for value in names.iter().filter_map(|name| attribute(node, name)) {
                assert!(
                    (-0.5..=limit + 0.5).contains(&value),
                    "{what}: {value} of {limit} in {node:?}"
                );
            }
        }
    }
}

#[test]
fn throughput_and_ttft_begin_at_zero() {
    for chart in catalogue(&[0, 50, 100], &[2, 12, 22]) {
        let page = chart_page(&chart, &PageContext::default());
        let data = page_data(&page);
        for layout in ["wide", "narrow"] {
            for frame in data["layouts"][layout].as_array().unwrap() {
                assert_eq!(frame["y"][0].as_f64(), Some(0.0), "{}", chart.stem);
            }
        }
    }
}

/// On an axis from zero everything but the fastest test lay on the line of the axis.
#[test]
fn throughput_over_two_decades_gets_logarithmic_axes_that_are_named() {
    let mut context = context(8_000, &[0, 50, 100]);
    for (point, factor) in context.points.iter_mut().zip([1.0, 3.0, 300.0]) {
        let mean = 1_000.0 * factor;
        (point.input.mean, point.input.min, point.input.max) = (mean, mean * 0.9, mean * 1.1);
    }
    let single = performance(context.points.clone());
    let compared = input_throughput_comparison(std::slice::from_ref(&context));
    for chart in [&single, &compared] {
        let panel = &chart.panels[0];
        let axes = std::iter::once(&panel.y).chain(&panel.y2);
        for axis in axes {
            assert_eq!(axis.range, AxisRange::Log, "{}: {}", chart.stem, axis.title);
            let named = |c: &String| c.starts_with("Logarithmic") && c.contains(&axis.title);
            assert!(chart.captions.iter().any(named), "{:?}", chart.captions);
        }
        for layout in [Layout::Wide, Layout::Narrow] {
            let svg = draw(chart, layout).svg;
            assert!(
                !svg.contains("NaN") && !svg.contains("inf"),
                "{}",
                chart.stem
            );
        }
        // What is said is also what is drawn, on the right as well.
        let page = page_data(&chart_page(chart, &PageContext::default()));
        let frame = &page["layouts"]["wide"][0];
        assert_eq!(frame["y"][2], true, "{}", chart.stem);
        assert_eq!(frame["y2"][2] == true, panel.y2.is_some(), "{}", chart.stem);
    }
    // A window without any throughput has no place on such an axis.
    context.points[0].input.min = 0.0;
    let chart = performance(context.points);
    assert_eq!(chart.panels[0].y.range, AxisRange::FromZero);
}

#[test]
fn an_unknown_value_is_a_gap_and_not_a_zero() {
    let mut input = concurrency(WindowKind::Ramp, &[1, 2, 3, 4, 5, 6]);
    input.levels[2].input = None;
    input.levels[5].input = Some(f64::NAN);
    let chart = concurrency_chart(&input);
    let svg = render(&chart);
    let doc = parse_svg(&svg);
    let series = doc.descendants().find(|n| {
        n.attribute("data-key") == Some("input") && n.attribute("class") == Some("series")
    });
    let series = series.unwrap();
    let class = |name: &str| {
        let group = series
            .children()
            .find(|n| n.attribute("class").is_some_and(|c| c.starts_with(name)));
        group.unwrap().children().filter(|n| n.is_element()).count()
    };
    assert_eq!(class("ln"), 2, "two runs of two points each");
    assert_eq!(class("mk"), 4);
    let page = chart_page(&chart, &PageContext::default());
    let data = page_data(&page);
    let xs: Vec<_> = data["panels"][0]["series"][0]["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p[0].as_f64().unwrap())
        .collect();
    assert_eq!(xs, [1.0, 2.0, 4.0, 5.0]);
    let table = parse_page(&page);
    assert!(elements(&table, "td").any(|n| n.text() == Some("–")));
}

#[test]
fn points_that_stand_for_the_summary_are_hollow_and_have_no_band() {
    let mut rates = points(&[0, 50]);
    rates[1].source = metrics::retry::RateSource::SummaryPublished;
    let chart = performance(rates);
    let band = &chart.panels[0].series()[0];
    assert!(band.points[0].range.is_some() && band.points[1].range.is_none());
    let svg = render(&chart);
    let doc = parse_svg(&svg);
    let hollow: Vec<_> = doc
        .descendants()
        .filter(|n| n.attribute("class") == Some("hollow"))
        .collect();
    assert!(!hollow.is_empty());
    assert!(hollow.iter().all(|n| {
        n.children()
            .any(|t| t.text().is_some_and(|t| t.contains("summary value")))
    }));
}

#[test]
fn every_marker_tells_its_values_without_a_script() {
    let svg = render(&concurrency_chart(&concurrency(
        WindowKind::Ramp,
        &[2, 1_200],
    )));
    let doc = parse_svg(&svg);
    let titles: Vec<&str> = elements(&doc, "title").filter_map(|n| n.text()).collect();
    assert!(
        titles.contains(&"Input tokens/s: 1,200,000 tok/s | Concurrency Level: 1,200"),
        "{titles:?}"
    );
    assert!(
        titles.contains(&"Avg TTFT: 0.020s | Concurrency Level: 2"),
        "{titles:?}"
    );
}

#[test]
fn series_of_one_panel_differ_by_more_than_colour() {
    for chart in catalogue(&[0, 50, 100], &[2, 12, 22]) {
        for panel in &chart.panels {
            let styles: Vec<SeriesStyle> = panel.series().iter().map(|s| s.style).collect();
            for (i, style) in styles.iter().enumerate() {
                assert!(
                    !styles[i + 1..].contains(style),
                    "{}: {style:?} twice",
                    chart.stem
                );
            }
        }
    }
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let nasty =
        "</script><script>alert(1)</script><b onclick='x'>&amp; \"quoted\" 🚀 \u{0} \u{2028}";
    let mut chart = concurrency_chart(&concurrency(WindowKind::Ramp, &[2, 12]));
    chart.title = nasty.to_owned();
    chart.subtitles = vec![nasty.repeat(8)];
    chart.captions = vec![nasty.to_owned()];
    chart.description = nasty.to_owned();
    chart.stem = nasty.to_owned();
    for panel in &mut chart.panels {
        panel.title = nasty.to_owned();
        panel.x.title = nasty.to_owned();
        panel.y.title = nasty.to_owned();
        for line in &mut panel.lines {
            line.label = Some(nasty.to_owned());
        }
        let Body::Series(series) = &mut panel.body else {
            panic!("these panels hold lines")
        };
        for s in series {
            s.name = nasty.to_owned();
            s.key = nasty.to_owned();
            s.points[0].note = Some(nasty.to_owned());
        }
    }
    let context = PageContext {
        model: Some(nasty.to_owned()),
        version: nasty.to_owned(),
    };
    let page = chart_page(&chart, &context);
    assert_eq!(
        page.matches("<script").count(),
        2,
        "the data and the shared script"
    );
    assert_eq!(page.matches("</script").count(), 2);
    assert!(!page.contains("<b ") && !page.contains("<b>"));
    let data = page_data(&page);
    assert_eq!(data["title"].as_str(), Some(nasty));
    assert_eq!(data["panels"][0]["series"][0]["name"].as_str(), Some(nasty));
    // Askama writes the control character as it is, which XML refuses; everything else must parse.
    let doc_text = page.replace('\u{0}', "");
    let doc = parse_page(&doc_text);
    let model = doc
        .descendants()
        .find(|n| n.attribute("class") == Some("model"))
        .unwrap();
    assert_eq!(
        model.text(),
        Some(&*format!("Model: {}", nasty.replace('\u{0}', "")))
    );
    assert_eq!(
        doc.descendants()
            .filter(|n| n.has_tag_name("b") || n.attribute("onclick").is_some())
            .count(),
        0
    );
}

#[test]
fn a_page_fetches_nothing_and_runs_only_the_shared_script() {
    let page = chart_page(
        &performance(points(&[0, 50])),
        &PageContext {
            model: None,
            version: "1.6".to_owned(),
        },
    );
    let doc = parse_page(&page);
    for node in doc.descendants().filter(|n| n.is_element()) {
        for name in [
            "src", "srcset", "action", "data", "poster", "onload", "onclick",
        ] {
            assert_eq!(node.attribute(name), None, "{node:?}");
        }
        if let Some(href) = node.attribute("href") {
            assert_eq!(href, "index.html");
        }
    }
    assert!(!page.contains("@import") && !page.contains("url("));
    let policy = doc
        .descendants()
        .find_map(|n| n.attribute("http-equiv").and(n.attribute("content")))
        .unwrap();
    assert!(policy.starts_with("default-src 'none';"));
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe-eval"));
    assert!(page.contains("Generated with KV Cache Tester v1.6"));
}

#[test]
fn a_threshold_out_of_reach_is_named_and_does_not_flatten_the_data() {
    let input = ConcurrencyInput {
        max_ttft: Some(60.0),
        ..concurrency(WindowKind::Ramp, &[2, 12])
    };
    let chart = concurrency_chart(&input);
    let page = chart_page(&chart, &PageContext::default());
    assert!(
        page_data(&page)["layouts"]["wide"][2]["y"][1]
            .as_f64()
            .unwrap()
            < 1.0
    );
    let svg = render(&chart);
    let doc = parse_svg(&svg);
    let label = elements(&doc, "text")
        .filter_map(|n| n.text())
        .find(|t| t.starts_with("TTFT Threshold (60.0s)"));
    assert!(
        label.is_some_and(|l| l.contains("above this range")),
        "{label:?}"
    );
}

#[test]
fn levels_over_two_decades_get_a_logarithmic_axis() {
    let range = |levels: &[u32]| {
        concurrency_chart(&concurrency(WindowKind::Ramp, levels)).panels[0]
            .x
            .range
    };
    assert_eq!(range(&[2, 12, 199]), AxisRange::FromZero);
    assert_eq!(range(&[2, 12, 200]), AxisRange::Log);
}

fn free_chart(points: Vec<(f64, Option<f64>)>, threshold: f64, right: bool, log: bool) -> Chart {
    let axis = |title: &str, range| Axis {
        title: title.to_owned(),
        range,
        ticks: Ticks::Auto,
        format: NumberFormat::COUNT,
    };
    let series = |key: &str, side, scale: f64| Series {
        key: key.to_owned(),
        name: key.to_owned(),
        ink: Ink::Blue,
        style: SeriesStyle::Line {
            dash: Dash::Solid,
            marker: Marker::Circle,
        },
        side,
        format: NumberFormat::COUNT,
        points: points
            .iter()
            .map(|(x, y)| Point::line(*x, y.map(|y| y * scale)))
            .collect(),
    };
    let mut body = vec![series("left", Side::Left, 1.0)];
    if right {
        body.push(series("right", Side::Right, 0.37));
    }
    Chart {
        kind: ChartKind::Ramp,
        stem: "free".to_owned(),
        title: "Free".to_owned(),
        subtitles: Vec::new(),
        captions: Vec::new(),
        description: String::new(),
        panels: vec![Panel {
            title: "Panel".to_owned(),
            x: axis(
                "x",
                if log {
                    AxisRange::Log
                } else {
                    AxisRange::FromZero
                },
            ),
            y: axis("y", AxisRange::FromZero),
            y2: right.then(|| axis("y2", AxisRange::FromZero)),
            body: Body::Series(body),
            lines: vec![RefLine {
                orientation: Orientation::Horizontal,
                value: threshold,
                label: Some("T".to_owned()),
                ink: Ink::Red,
            }],
        }],
        height: 500,
        shared_legend: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A marker is drawn exactly where the script, from the data in the page, puts the read-out's dot.
    #[test]
    fn the_script_finds_every_point_where_it_is_drawn(
        mut points in proptest::collection::vec((0.5f64..1e5, proptest::option::of(0.0f64..1e7)), 1..40),
        threshold in 0.1f64..1e7,
        right: bool,
        log: bool,
    ) {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let chart = free_chart(points, threshold, right, log);
        let page = chart_page(&chart, &PageContext::default());
        let data = page_data(&page);
        let doc = parse_page(&page);
        let svg = doc.descendants().find(|n| n.attribute("class") == Some("chart wide")).unwrap();
        let frame = &data["layouts"]["wide"][0];
        let number = |v: &serde_json::Value| v.as_f64().unwrap();
        let share = |axis: &serde_json::Value, v: f64| {
            let (min, max) = (number(&axis[0]), number(&axis[1]));
            if axis[2].as_bool().unwrap() { (v / min).ln() / (max / min).ln() } else { (v - min) / (max - min) }
        };
        for series in data["panels"][0]["series"].as_array().unwrap() {
            let key = series["key"].as_str();
            let group = svg.descendants().find(|n| n.attribute("class") == Some("series") && n.attribute("data-key") == key).unwrap();
            let drawn: Vec<(f64, f64)> = group
                .descendants()
                .filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "circle")))
                .map(|n| (attribute(n, "cx").unwrap(), attribute(n, "cy").unwrap()))
                .collect();
            let expected = series["points"].as_array().unwrap();
            prop_assert_eq!(drawn.len(), expected.len());
            let axis = if series["right"].as_bool().unwrap() { &frame["y2"] } else { &frame["y"] };
            for (at, point) in drawn.iter().zip(expected) {
                let x = number(&frame["plot"][0]) + share(&frame["x"], number(&point[0])) * number(&frame["plot"][2]);
                let y = number(&frame["plot"][1]) + (1.0 - share(axis, number(&point[1]))) * number(&frame["plot"][3]);
                prop_assert!((at.0 - x).abs() < 0.25 && (at.1 - y).abs() < 0.25, "{at:?} and {x}, {y}");
            }
        }
    }

    /// Whatever the numbers and the words, every layout is well-formed and stays in its frame.
    #[test]
    fn any_chart_is_well_formed(
        points in proptest::collection::vec((any::<f64>(), proptest::option::of(any::<f64>())), 0..20),
        words in "\\PC{0,60}",
        threshold in any::<f64>(),
        right: bool,
        log: bool,
    ) {
        let mut points: Vec<_> = points.into_iter().filter(|p| p.0.is_finite() && p.0.abs() < 1e12).map(|(x, y)| (x.abs(), y.map(|y| y.abs().min(1e15)))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut chart = free_chart(points, if threshold.is_finite() { threshold.abs().min(1e12) } else { 1.0 }, right, log);
        chart.title.clone_from(&words);
        chart.panels[0].lines[0].label = Some(words);
        for layout in LAYOUTS {
            let drawing = draw(&chart, layout);
            parse_svg(&drawing.svg);
            prop_assert!(!drawing.svg.contains("NaN"));
        }
    }
}

#[test]
fn contexts_beyond_the_palette_still_differ() {
    let contexts: Vec<ContextPoints> = (1..=12)
        .map(|i| ContextPoints {
            context_size: i * 1_000,
            points: vec![rate_point(0), rate_point(100)],
        })
        .collect();
    let chart = output_metrics_comparison(&contexts);
    let looks: HashSet<String> = chart.panels[0]
        .series()
        .iter()
        .map(|s| format!("{:?}{:?}", s.ink.class(), s.style))
        .collect();
    assert_eq!(looks.len(), 12);
}
