//! Titles, axis titles, series names and labels of the catalogue, letter by letter.

#[path = "support/prepared.rs"]
mod common;

use std::collections::HashSet;

use common::{concurrency, context, elements, line, parse_svg, performance, points, sustained};
use report::catalogue::{
    SummaryLine, WindowKind, concurrency_chart, input_throughput_comparison,
    output_metrics_comparison, output_throughput_comparison, sustained_chart, sustained_comparison,
    ttft_heatmap,
};
use report::chart::{AxisRange, Body, Chart};
use report::svg::render;

/// Panel title, left axis, right axis and series names of a chart, in order.
fn wording(chart: &Chart) -> Vec<(String, String, Option<String>, Vec<String>)> {
    chart
        .panels
        .iter()
        .map(|p| {
            let names = p.series().iter().map(|s| s.name.clone()).collect();
            (
                p.title.clone(),
                p.y.title.clone(),
                p.y2.as_ref().map(|a| a.title.clone()),
                names,
            )
        })
        .collect()
}

fn expect(chart: &Chart, title: &str, x: &str, panels: &[(&str, &str, Option<&str>, &[&str])]) {
    assert_eq!(chart.title, title);
    assert!(chart.panels.iter().all(|p| p.x.title == x), "{title}");
    let expected: Vec<_> = panels
        .iter()
        .map(|(title, y, y2, names)| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            (
                (*title).to_owned(),
                (*y).to_owned(),
                y2.map(str::to_owned),
                names,
            )
        })
        .collect();
    assert_eq!(wording(chart), expected, "{title}");
    // What the data say stands in the picture too.
    let svg = render(chart);
    let doc = parse_svg(&svg);
    let texts: HashSet<&str> = elements(&doc, "text").filter_map(|n| n.text()).collect();
    assert!(texts.contains(title), "{texts:?}");
    for (panel, y, y2, names) in panels {
        for words in [*panel, *y]
            .into_iter()
            .chain(*y2)
            .chain(names.iter().copied())
        {
            assert!(
                words.is_empty() || texts.contains(words),
                "{words} is missing in {title}: {texts:?}"
            );
        }
    }
}

#[test]
fn concurrency_charts_carry_the_published_wording() {
    let ramp = concurrency_chart(&concurrency(WindowKind::Ramp, &[2, 12, 22]));
    assert_eq!(ramp.stem, "ramp_ctx8000_cache50");
    assert_eq!(
        ramp.subtitles[0],
        "Context: 8,000 tokens | Cache Hit Rate: 50%"
    );
    let panels: &[(&str, &str, Option<&str>, &[&str])] = &[
        (
            "Input Throughput vs Concurrency",
            "Input Tokens/s",
            None,
            &["Input tokens/s"],
        ),
        (
            "Output Throughput vs Concurrency",
            "Output Tokens/s",
            None,
            &["Output tokens/s"],
        ),
        (
            "TTFT Metrics vs Concurrency",
            "TTFT (seconds)",
            None,
            &["Avg TTFT", "Max TTFT", "P95 TTFT"],
        ),
    ];
    expect(
        &ramp,
        "Concurrency Ramp Analysis",
        "Concurrency Level",
        panels,
    );
    let labels: Vec<Vec<Option<&str>>> = ramp
        .panels
        .iter()
        .map(|p| p.lines.iter().map(|l| l.label.as_deref()).collect())
        .collect();
    assert_eq!(
        labels,
        [
            vec![Some("Peak Concurrency (12)")],
            vec![None],
            vec![None, Some("TTFT Threshold (0.5s)")]
        ]
    );
    let fixed = concurrency_chart(&concurrency(WindowKind::Fixed, &[2, 12, 22]));
    assert_eq!(fixed.stem, "fixed_ctx8000_cache50");
    expect(
        &fixed,
        "Fixed Concurrency Analysis",
        "Concurrency Level",
        panels,
    );
}

#[test]
fn the_sustained_charts_carry_the_published_wording() {
    let input = sustained(8_000, 3);
    let chart = sustained_chart(&input);
    assert_eq!(chart.stem, "sustained_ctx8000_cache50");
    assert_eq!(chart.height, 1400);
    assert_eq!(
        chart.subtitles,
        [
            "Context: 8,000 tokens | Cache Hit Rate: 50%",
            "Summary: 1.0M input tokens, 0.0M output tokens | Avg TTFT: 0.200s | Avg Tokens/Req: 30.0 tok/s | Total Requests: 120"
        ]
    );
    let level = Some("Concurrency Level");
    expect(
        &chart,
        "Sustained Mode: Performance Over Time",
        "Elapsed Time (seconds)",
        &[
            (
                "Input Throughput Over Time",
                "Input Tokens/s",
                level,
                &["Input Tokens/s", "Concurrency"],
            ),
            (
                "Output Throughput Over Time",
                "Output Tokens/s",
                level,
                &["Output Tokens/s", "Concurrency"],
            ),
            (
                "TTFT Metrics Over Time",
                "TTFT (seconds)",
                level,
                &["Avg TTFT", "P95 TTFT", "P99 TTFT", "Concurrency"],
            ),
            (
                "Output Tokens per Request Over Time",
                "Output Tokens/s per Request",
                level,
                &["Avg Output/Request", "Concurrency"],
            ),
            (
                "Inter-Token Latency Over Time",
                "ITL (milliseconds)",
                level,
                &["Avg ITL", "P95 ITL", "Concurrency"],
            ),
        ],
    );
    let labels: Vec<&str> = chart
        .panels
        .iter()
        .flat_map(|p| p.lines.iter().filter_map(|l| l.label.as_deref()))
        .collect();
    assert_eq!(labels, ["Threshold (0.5s)", "Min Threshold (12.5 tok/s)"]);
    let ttft: Vec<(f64, Option<f64>)> = chart.panels[2].series()[0]
        .points
        .iter()
        .map(|p| (p.x, p.y))
        .collect();
    assert_eq!(
        ttft[1],
        (60.0, None),
        "a period without a first token is a gap, not a zero"
    );

    assert_eq!(sustained_comparison(std::slice::from_ref(&input)), None);
    let both = sustained_comparison(&[input, sustained(32_000, 4)]).unwrap();
    assert_eq!(both.stem, "sustained_comparison_cache50");
    let contexts: &[&str] = &["8,000 tokens", "32,000 tokens"];
    expect(
        &both,
        "Sustained Mode: Context Length Comparison",
        "Elapsed Time (seconds)",
        &[
            (
                "Input Throughput Over Time - Cache 50%",
                "Input Tokens/s",
                None,
                contexts,
            ),
            (
                "Output Throughput Over Time - Cache 50%",
                "Output Tokens/s",
                None,
                contexts,
            ),
            (
                "P95 TTFT Over Time - Cache 50%",
                "TTFT (seconds)",
                None,
                contexts,
            ),
            (
                "Output Tokens per Request Over Time - Cache 50%",
                "Output Tokens/s per Request",
                None,
                contexts,
            ),
            (
                "Average ITL Over Time - Cache 50%",
                "ITL (milliseconds)",
                None,
                contexts,
            ),
        ],
    );
}

#[test]
fn the_summary_line_carries_the_published_wording() {
    assert_eq!(
        line().text(),
        "Summary: 123.4M input tokens, 3.2M output tokens | Avg TTFT: 0.812s | Avg Tokens/Req: 41.2 tok/s | Total Requests: 12,345"
    );
    assert_eq!(
        SummaryLine::default().text(),
        "Summary: 0.0M input tokens, 0.0M output tokens | Avg TTFT: N/A | Avg Tokens/Req: N/A | Total Requests: 0"
    );
}

#[test]
fn the_performance_chart_carries_the_published_wording() {
    let chart = performance(points(&[0, 50, 100]));
    assert_eq!(chart.stem, "performance_vs_cache_rate_8000");
    assert_eq!(chart.subtitles[0], "Context: 8,000 tokens");
    expect(
        &chart,
        "Performance vs Cache Hit Rate",
        "Cache Hit Rate (%)",
        &[
            (
                "Input Throughput vs Cache Hit Rate",
                "Input Tokens/s",
                None,
                &["Input range", "Input tokens/s (avg)"],
            ),
            (
                "Output Throughput vs Cache Hit Rate",
                "Output Tokens/s",
                None,
                &["Output range", "Output tokens/s (avg)"],
            ),
            (
                "TTFT Metrics vs Cache Hit Rate",
                "TTFT (seconds)",
                None,
                &["Avg TTFT", "Median TTFT", "P95 TTFT", "P99 TTFT"],
            ),
            (
                "Output Tokens/s Per Request vs Cache Hit Rate",
                "Output Tokens/s Per Req",
                None,
                &["Avg Output Tokens/Req"],
            ),
        ],
    );
}

#[test]
fn comparisons_carry_the_published_wording() {
    let contexts = [context(800, &[0, 50]), context(1_600, &[0, 50])];
    let names: &[&str] = &[
        "800 tokens",
        "800 tokens (speedup)",
        "1,600 tokens",
        "1,600 tokens (speedup)",
    ];
    let right = Some("Speedup (relative to 0% cache)");
    let input = input_throughput_comparison(&contexts);
    assert_eq!(input.stem, "input_throughput_comparison");
    expect(
        &input,
        "Input Throughput Comparison Across Context Lengths",
        "Cache Hit Rate (%)",
        &[("", "Input Tokens/s", right, names)],
    );
    let output = output_throughput_comparison(&contexts);
    assert_eq!(output.stem, "output_throughput_comparison");
    expect(
        &output,
        "Output Throughput Comparison Across Context Lengths",
        "Cache Hit Rate (%)",
        &[("", "Output Tokens/s", right, names)],
    );
    let metrics = output_metrics_comparison(&contexts);
    assert_eq!(metrics.stem, "output_metrics_comparison");
    let names: &[&str] = &["800 tokens", "1,600 tokens"];
    expect(
        &metrics,
        "Output Token Metrics Comparison Across Context Lengths",
        "Cache Hit Rate (%)",
        &[
            (
                "Average Inter-Token Latency (ITL) Across Context Lengths",
                "Inter-Token Latency (ms)",
                None,
                names,
            ),
            (
                "Average Output Tokens/s per Request Across Context Lengths",
                "Output Tokens/s per Request",
                None,
                names,
            ),
        ],
    );
}

#[test]
fn the_heat_map_needs_two_contexts_and_writes_its_values() {
    let one = [context(800, &[0, 50])];
    assert_eq!(ttft_heatmap(&one), None);
    let mut two = [context(800, &[0, 50]), context(1_600, &[0, 100])];
    two[0].points[1].summary_ttft = Some(0.25);
    let chart = ttft_heatmap(&two).unwrap();
    assert_eq!(
        (chart.title.as_str(), chart.stem.as_str()),
        ("Average TTFT Heatmap", "ttft_heatmap")
    );
    let Body::Heat(grid) = &chart.panels[0].body else {
        panic!("a heat map holds cells")
    };
    assert_eq!(grid.columns, [0.0, 50.0, 100.0]);
    assert_eq!(
        grid.rows
            .iter()
            .map(|r| r.name.as_str())
            .collect::<Vec<_>>(),
        ["800", "1,600"]
    );
    assert_eq!(grid.rows[0].cells[1..], [Some(0.25), None]);
    assert_eq!(chart.panels[0].x.range, AxisRange::Fixed(-2.5, 102.5));
    let svg = render(&chart);
    let doc = parse_svg(&svg);
    let texts: HashSet<&str> = elements(&doc, "text").filter_map(|n| n.text()).collect();
    for words in [
        "TTFT (s)",
        "Context Size (tokens)",
        "Cache Hit Rate (%)",
        "0.250s",
    ] {
        assert!(texts.contains(words), "{texts:?}");
    }
}
