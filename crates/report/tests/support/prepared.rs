//! Prepared figures and readers of pages, shared by the tests of charts and index.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use metrics::PeriodRow;
use metrics::retry::{Band, RateSource};
use report::catalogue::{
    ConcurrencyInput, ContextPoints, LevelPoint, LevelSource, PerformanceInput, RatePoint,
    SummaryLine, SustainedInput, WindowKind, performance_chart,
};
use report::chart::Chart;
use report::test_name::TestName;
use roxmltree::{Document, Node, ParsingOptions};

/// One test whose figures follow from its rate.
pub fn rate_point(rate: u32) -> RatePoint {
    let share = f64::from(rate) / 100.0;
    let band = |mean: f64| Band {
        mean,
        min: mean * 0.9,
        max: mean * 1.1,
        std: Some(mean * 0.05),
    };
    let ttft = 0.5 - 0.4 * share;
    RatePoint {
        rate,
        achieved_rate: None,
        input: band(4_000.0 + 16_000.0 * share),
        output: band(64.0 + 256.0 * share),
        source: RateSource::Window,
        n_windows: 4,
        pause_removed: false,
        summary_input: 3_900.0 + 15_600.0 * share,
        summary_output: 62.0 + 250.0 * share,
        avg_ttft: Some(ttft),
        avg_ttft_range: Some((ttft * 0.9, ttft * 1.1)),
        median_ttft: Some(ttft * 0.95),
        p95_ttft: Some(ttft * 1.3),
        p99_ttft: Some(ttft * 1.5),
        summary_ttft: Some(ttft),
        speed: Some(30.0 + 5.0 * share),
        avg_itl: Some(0.03),
        client_limited: false,
    }
}

pub fn points(rates: &[u32]) -> Vec<RatePoint> {
    rates.iter().copied().map(rate_point).collect()
}

pub fn context(context_size: u64, rates: &[u32]) -> ContextPoints {
    ContextPoints {
        context_size,
        points: points(rates),
    }
}

/// A test at 8,000 tokens and 50 % whose figures follow from the level; its peak is the middle level.
pub fn concurrency(kind: WindowKind, levels: &[u32]) -> ConcurrencyInput {
    let points = levels.iter().map(|level| {
        let c = f64::from(*level);
        LevelPoint {
            concurrency: *level,
            input: Some(c * 1_000.0),
            output: Some(c * 16.0),
            avg_ttft: Some(c * 0.01),
            max_ttft: Some(c * 0.02),
            p95_ttft: Some(c * 0.018),
            n_windows: 1,
            failed: None,
            client_limited: false,
        }
    });
    ConcurrencyInput {
        kind,
        context_size: 8_000,
        working_set_size: None,
        cache_hit_rate: 50,
        achieved_rate: None,
        levels: points.collect(),
        source: LevelSource::Window,
        max_ttft: Some(0.5),
        peak: levels.get(levels.len() / 2).copied(),
        summary: None,
    }
}

/// A third line of a title block.
pub fn line() -> SummaryLine {
    SummaryLine {
        input_tokens: 123_449_999.0,
        output_tokens: 3_160_000.0,
        avg_ttft: Some(0.8124),
        avg_speed: Some(41.25),
        requests: 12_345,
    }
}

/// The performance chart of these tests.
pub fn performance(points: Vec<RatePoint>) -> Chart {
    performance_chart(&PerformanceInput {
        context_size: 8_000,
        points,
        summary: Some(line()),
        max_ttft: Some(2.0),
    })
}

pub fn parse_svg(svg: &str) -> Document<'_> {
    Document::parse(svg).unwrap_or_else(|e| panic!("not well-formed: {e}\n{svg}"))
}

/// Pages are well-formed XML too, which is stricter than what a browser asks.
pub fn parse_page(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(page, options).unwrap_or_else(|e| panic!("not well-formed: {e}"))
}

pub fn elements<'a>(doc: &'a Document<'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    doc.descendants()
        .filter(move |n| n.is_element() && n.tag_name().name() == name)
}

pub fn attribute(node: Node<'_, '_>, name: &str) -> Option<f64> {
    node.attribute(name)?.parse().ok()
}

/// The data block of a chart page.
pub fn page_data(page: &str) -> serde_json::Value {
    let before = "<script type=\"application/json\" id=\"chart-data\">";
    let (_, rest) = page.split_once(before).expect("a chart page holds data");
    let (json, _) = rest.split_once("</script>").expect("the data end");
    serde_json::from_str(json).expect("the data are JSON")
}

/// A sustained test of this many periods of 30 s.
pub fn sustained(context_size: u64, n_periods: u32) -> SustainedInput {
    let period = |n: u32| PeriodRow {
        period_number: u64::from(n),
        context_size,
        cache_hit_rate: 50,
        start_time: 1000.0 + 30.0 * f64::from(n - 1),
        end_time: 1000.0 + 30.0 * f64::from(n),
        duration: 30.0,
        concurrency_level: 2 * n,
        num_requests_launched: 40,
        num_requests_completed: 40,
        total_input_tokens: 40 * context_size,
        total_output_tokens: 640,
        input_tokens_per_sec: 40.0 * context_size as f64 / 30.0,
        output_tokens_per_sec: 640.0 / 30.0,
        // A period without a first token leaves a gap.
        avg_ttft: (n != 2).then(|| 0.1 * f64::from(n)),
        p95_ttft: (n != 2).then(|| 0.12 * f64::from(n)),
        p99_ttft: (n != 2).then(|| 0.13 * f64::from(n)),
        avg_itl: Some(0.03),
        p95_itl: Some(0.04),
        avg_output_tokens_per_request: Some(30.0),
        decision: "RAMP_UP".to_owned(),
        next_concurrency: 2 * n + 2,
        ..PeriodRow::default()
    };
    SustainedInput {
        test: TestName::new(context_size, 50),
        periods: (1..=n_periods).map(period).collect(),
        max_ttft: Some(0.5),
        min_speed: Some(12.5),
    }
}
