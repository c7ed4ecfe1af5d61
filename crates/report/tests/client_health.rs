//! The page on the client that measured: from one window to five thousand periods, with whatever its file lacks.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop a test")]

#[path = "support/prepared.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::{elements, parse_page, parse_svg};
use metrics::health::{HealthRow, Lag, Typical, WindowHealth};
use metrics::schema::write_health;
use report::catalogue::{client_health_chart, comparison_charts};
use report::chart::{Chart, Panel, Series};
use report::data::RunData;
use report::index::write_index;
use report::page::{PageContext, chart_page, write_chart};
use report::svg::render;

/// A window of ten seconds whose threads were late by `lag` seconds at their median.
fn window(number: usize, rate: u32, lag: f64) -> HealthRow {
    let typical = |median| Typical {
        median: Some(median),
        p95: Some(median * 1.5),
    };
    let health = WindowHealth {
        phase_id: format!("SUSTAINED_P{number}"),
        context_size: 1000,
        cache_hit_rate: rate,
        level: 8,
        length: 10.0,
        lag: Some(Lag {
            p50: lag,
            p99: lag * 2.0,
            max: lag * 10.0,
        }),
        send_delay_p99: Some(lag),
        cpu_share: Some(0.25),
        in_flight: (0..20)
            .map(|part| 8.0 - f64::from(part % 2) * 0.1)
            .collect(),
        missing_share: Some(0.001),
        ttft: typical(0.1),
        itl: typical(0.02),
        answer_tokens: Some(101.0),
        ..WindowHealth::default()
    };
    HealthRow::new(&health, None)
}

fn panel<'a>(chart: &'a Chart, title: &str) -> &'a Panel {
    let found = chart.panels.iter().find(|p| p.title == title);
    found.unwrap_or_else(|| panic!("no panel {title}: {:?}", titles(chart)))
}

fn titles(chart: &Chart) -> Vec<&str> {
    chart.panels.iter().map(|p| p.title.as_str()).collect()
}

fn series<'a>(panel: &'a Panel, key: &str) -> &'a Series {
    panel.series().iter().find(|s| s.key == key).unwrap()
}

fn values(series: &Series) -> Vec<f64> {
    series.points.iter().filter_map(|p| p.y).collect()
}

const ALL: [&str; 5] = [
    "Requests in Flight",
    "The Client's Error of TTFT",
    "The Client's Error of ITL",
    "Scheduling Lag",
    "Processor",
];

#[test]
fn one_window_has_every_panel_and_its_parts() {
    let chart = client_health_chart(&[window(1, 50, 0.001)]).unwrap();
    assert_eq!(titles(&chart), ALL);
    let held = panel(&chart, ALL[0]);
    let achieved = series(held, "achieved");
    assert_eq!(achieved.points.len(), 20);
    assert_eq!((achieved.points[0].x, achieved.points[19].x), (0.5, 10.0));
    assert_eq!(values(series(held, "planned")), [8.0; 20]);
    assert!(held.series().iter().all(|s| s.key != "limited"));
    // 1 of 100 ms, and 2 of 150 ms.
    let ttft = panel(&chart, ALL[1]);
    assert!((values(series(ttft, "p50"))[0] - 1.0).abs() < 1e-9);
    assert!((values(series(ttft, "p99"))[0] - 2.0 / 1.5).abs() < 1e-9);
    let limits: Vec<f64> = ttft.lines.iter().map(|l| l.value).collect();
    assert_eq!(limits, [5.0, 10.0]);
    // The lag is shared out over the hundred gaps of an answer: 10 µs of 20 ms.
    assert!((values(series(panel(&chart, ALL[2]), "p50"))[0] - 0.05).abs() < 1e-9);
    assert_eq!(values(series(panel(&chart, ALL[4]), "cpu")), [0.25]);
    let svg = render(&chart);
    let document = parse_svg(&svg);
    let texts: Vec<&str> = elements(&document, "text")
        .filter_map(|n| n.text())
        .collect();
    for words in [
        "Health of the Measuring Client",
        "1 window or period | 1 test | 0 limited by the client",
        "Planned",
        "Achieved",
    ] {
        assert!(texts.contains(&words), "{words} is missing: {texts:?}");
    }
    assert!(
        chart
            .captions
            .iter()
            .any(|c| c.starts_with("1 of 1 window without a calibration"))
    );
}

#[test]
fn limited_windows_stand_out_with_their_cause() {
    let rows = [
        window(1, 50, 0.001),
        window(2, 50, 0.03),
        window(3, 50, 0.001),
    ];
    assert_eq!(rows[1].client_limited, Some(true));
    let chart = client_health_chart(&rows).unwrap();
    assert!(chart.subtitles[0].ends_with("| 1 limited by the client"));
    let marks = series(panel(&chart, ALL[0]), "limited");
    let marked: Vec<_> = marks.points.iter().filter(|p| p.y.is_some()).collect();
    assert_eq!(marked.len(), 1);
    assert!((marked[0].x - 20.0).abs() < 1e-9);
    let cause = "limited by the client: the client's own TTFT error";
    assert!(
        marked[0]
            .note
            .as_ref()
            .is_some_and(|note| note.starts_with(cause))
    );
    let errors = series(panel(&chart, ALL[1]), "p50");
    let hollow: Vec<bool> = errors.points.iter().map(|p| p.hollow).collect();
    assert_eq!(hollow, [false, true, false]);
    assert!(
        chart
            .captions
            .iter()
            .any(|c| c.starts_with("Triangles in the first panel"))
    );
}

/// Numbers and remarks of two points at one place must not hide each other, in the read-out or in the table.
#[test]
fn every_point_has_a_row_of_its_own_in_the_table() {
    let mut rows = [
        window(1, 50, 0.03),
        window(2, 50, 0.001),
        window(3, 50, 0.03),
    ];
    for row in &mut rows {
        row.duration = 1.0;
    }
    let chart = client_health_chart(&rows).unwrap();
    let page = chart_page(&chart, &PageContext::default());
    let document = parse_page(&page);
    let table: Vec<Vec<&str>> = elements(&document, "table")
        .next()
        .unwrap()
        .descendants()
        .filter(|n| n.has_tag_name("tr"))
        .map(|row| elements_of(row))
        .filter(|cells| !cells.is_empty())
        .collect();
    assert_eq!(table.len(), 60);
    let places: std::collections::BTreeSet<&str> = table.iter().map(|cells| cells[0]).collect();
    assert_eq!(places.len(), 60, "{places:?}");
    let limited = |i: usize| table[i][3].starts_with("7.95 (limited by the client: ");
    assert!(limited(19) && !limited(39) && limited(59), "{table:?}");
}

/// Texts of the cells of a row.
fn elements_of<'a>(row: roxmltree::Node<'a, 'a>) -> Vec<&'a str> {
    row.children()
        .filter(|n| n.has_tag_name("td"))
        .filter_map(|n| n.text())
        .collect()
}

#[test]
fn a_line_stands_where_the_next_test_begins() {
    let rows = [
        window(1, 0, 0.001),
        window(2, 0, 0.001),
        window(1, 50, 0.001),
    ];
    let chart = client_health_chart(&rows).unwrap();
    assert_eq!(
        chart.subtitles[0],
        "3 windows or periods | 2 tests | 0 limited by the client"
    );
    for panel in &chart.panels {
        let borders = panel.lines.iter().filter(|l| l.label.is_none());
        assert_eq!(borders.map(|l| l.value).collect::<Vec<_>>(), [20.0]);
    }
    let note = series(&chart.panels[0], "planned").points[59]
        .note
        .as_deref();
    assert_eq!(note, Some("SUSTAINED_P1, 1,000 tokens at 50%"));
}

#[test]
fn empty_cells_are_gaps_and_what_nobody_measured_has_no_panel() {
    let bare = HealthRow {
        phase_id: "RAMP_c1".to_owned(),
        context_size: 1000,
        concurrency_level: 4,
        duration: 5.0,
        ..HealthRow::default()
    };
    let chart = client_health_chart(std::slice::from_ref(&bare)).unwrap();
    assert_eq!(titles(&chart), ["Requests in Flight"]);
    assert_eq!(values(series(&chart.panels[0], "planned")), [4.0]);
    assert!(values(series(&chart.panels[0], "achieved")).is_empty());
    assert!(
        chart
            .captions
            .iter()
            .any(|c| c.starts_with("No error of TTFT and ITL is drawn"))
    );
    parse_page(&chart_page(&chart, &PageContext::default()));
    // Among others it is a gap.
    let chart = client_health_chart(&[window(1, 50, 0.001), bare, window(3, 50, 0.001)]).unwrap();
    assert_eq!(titles(&chart), ALL);
    let errors = series(panel(&chart, ALL[1]), "p50");
    let known: Vec<bool> = errors.points.iter().map(|p| p.y.is_some()).collect();
    assert_eq!(known, [true, false, true]);
    let without_length = HealthRow::default();
    assert_eq!(client_health_chart(&[without_length]), None);
    assert_eq!(client_health_chart(&[]), None);
}

#[test]
fn five_thousand_periods_have_a_point_each_and_a_page_that_opens() {
    let lag = |n: usize| if n.is_multiple_of(2) { 0.03 } else { 0.001 };
    let rows: Vec<HealthRow> = (1..=5_000).map(|n| window(n, 50, lag(n))).collect();
    let chart = client_health_chart(&rows).unwrap();
    let held = panel(&chart, ALL[0]);
    assert_eq!(series(held, "achieved").points.len(), 5_000);
    let range = series(held, "spread").points[0].range.unwrap();
    assert!((range.0 - 7.9).abs() < 1e-9 && (range.1 - 8.0).abs() < 1e-9);
    assert_eq!(values(series(held, "limited")).len(), 2_500);
    let page = chart_page(&chart, &PageContext::default());
    parse_page(&page);
    assert!(page.len() < 16 * 1024 * 1024, "{} bytes", page.len());
}

fn store(dir: &Path, stamp: &str, rows: &[HealthRow]) {
    let mut bytes = Vec::new();
    write_health(&mut bytes, rows, false).unwrap();
    fs::write(dir.join(format!("client_health_{stamp}.csv")), bytes).unwrap();
}

#[test]
fn of_each_test_the_newest_file_counts_and_the_page_is_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    assert!(comparison_charts(&RunData::read(dir.path())).is_empty());
    store(
        dir.path(),
        "20261122_010848",
        &[
            window(1, 0, 0.001),
            window(1, 50, 0.03),
            window(2, 50, 0.03),
        ],
    );
    store(
        dir.path(),
        "20261122_020000",
        &[window(1, 50, 0.001), window(1, 90, 0.001)],
    );
    let data = RunData::read(dir.path());
    assert_eq!(data.warnings, []);
    let rates: Vec<u32> = data.health.iter().map(|row| row.cache_hit_rate).collect();
    assert_eq!(rates, [0, 50, 90]);
    assert!(
        data.health
            .iter()
            .all(|row| row.client_limited == Some(false))
    );
    let charts = comparison_charts(&data);
    let chart = charts.iter().find(|c| c.stem == "client_health").unwrap();
    write_chart(dir.path(), chart, &PageContext::default()).unwrap();
    assert_eq!(write_index(dir.path(), "1.0").unwrap(), []);
    let page = fs::read_to_string(dir.path().join("index.html")).unwrap();
    assert!(page.contains("Health of the Client") && page.contains("Measuring Client"));
    assert_eq!(page.matches("href=\"client_health.html\"").count(), 1);
}

/// Files of a version that did not write what the errors are errors of.
#[test]
fn a_file_without_the_latencies_has_the_other_panels() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path(), "20261122_010848", &[window(1, 0, 0.001)]);
    let path = dir.path().join("client_health_20261122_010848.csv");
    let text = fs::read_to_string(&path).unwrap();
    let cut = |line: &str| line.rsplitn(5, ',').last().unwrap().to_owned() + "\n";
    fs::write(&path, text.lines().map(cut).collect::<String>()).unwrap();
    let data = RunData::read(dir.path());
    assert_eq!(data.warnings, []);
    let charts = comparison_charts(&data);
    assert_eq!(titles(&charts[0]), [ALL[0], ALL[3], ALL[4]]);
}
