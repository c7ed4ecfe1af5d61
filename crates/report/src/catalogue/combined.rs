//! Charts of several runs side by side: `input_throughput_ctx<C>`, `output_throughput_ctx<C>` and
//! `ttft_comparison_ctx<C>`.

use super::comparison::{Line, SPEEDUP_LINES, throughput_panel};
use super::{CLIENT_NOTE, RatePoint, Spread, captions, figure_axis, log_note, rate_axis, tokens};
use crate::chart::{Body, Chart, ChartKind, Ink, NumberFormat, Panel, Series};

/// One run at one context.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLine {
    /// Its label.
    pub label: String,
    /// Its place among all runs, which decides colour and marker on every chart.
    pub place: usize,
    /// One entry per rate, ascending.
    pub points: Vec<RatePoint>,
}

impl RunLine {
    fn line(&self) -> Line<'_> {
        Line {
            key: format!("run-{}", self.place),
            name: self.label.clone(),
            ink: Ink::Run(self.place),
            place: self.place,
            points: self.points.iter().map(|p| (f64::from(p.rate), p)).collect(),
        }
    }
}

/// The three charts of one context.
#[must_use]
pub fn combined_charts(context_size: u64, runs: &[RunLine]) -> [Chart; 3] {
    [
        throughput("Input", context_size, runs, |p| p.input.mean),
        throughput("Output", context_size, runs, |p| p.output.mean),
        ttft(context_size, runs),
    ]
}

fn sources(runs: &[RunLine]) -> Vec<String> {
    captions(runs.iter().flat_map(|r| &r.points), Spread::Hidden)
}

fn throughput(
    side: &str,
    context_size: u64,
    runs: &[RunLine],
    value: fn(&RatePoint) -> f64,
) -> Chart {
    let lines: Vec<Line<'_>> = runs.iter().map(RunLine::line).collect();
    let (panel, baselines) =
        throughput_panel(
            side,
            &lines,
            &rate_axis(),
            value,
            |baselines| match baselines {
                [rate] => format!("Speedup (relative to {rate}% cache)"),
                _ => "Speedup (relative to lowest rate)".to_owned(),
            },
        );
    let mut captions = sources(runs);
    if panel.y2.is_some() {
        captions.push(format!(
            "{SPEEDUP_LINES} throughput divided by that of the same run at {}.",
            match baselines[..] {
                [rate] => format!("{rate}% cache hit rate"),
                _ => "its lowest tested rate".to_owned(),
            }
        ));
    }
    captions.extend(log_note(std::slice::from_ref(&panel)));
    Chart {
        kind: ChartKind::RunThroughput,
        stem: format!("{}_throughput_ctx{context_size}", side.to_lowercase()),
        title: format!("{side} Throughput Comparison"),
        subtitles: vec![format!("Context: {}", tokens(context_size))],
        captions,
        description: format!("{side} tokens per second of all runs over the cache hit rate."),
        panels: vec![panel],
        height: 600,
        shared_legend: false,
    }
}

fn ttft(context_size: u64, runs: &[RunLine]) -> Chart {
    let panel = |name: &str, value: fn(&RatePoint) -> Option<f64>| {
        let format = NumberFormat::SECONDS;
        let lines = runs.iter().map(RunLine::line);
        let series: Vec<Series> = lines
            .map(|line| line.series(Ink::RUN_LEN, format, value))
            .collect();
        Panel {
            title: name.to_owned(),
            x: rate_axis(),
            y: figure_axis(&format!("{name} (seconds)"), format, &series),
            y2: None,
            body: Body::Series(series),
            lines: Vec::new(),
        }
    };
    let panels = vec![
        panel("Average TTFT", |p| p.avg_ttft),
        panel("P95 TTFT", |p| p.p95_ttft),
        panel("P99 TTFT", |p| p.p99_ttft),
    ];
    let mut captions = vec![
        "Points are means over the windows at the peak level of each test. Hollow markers are values of the summary file, used where a test has no readable window data."
            .to_owned(),
    ];
    let limited = runs
        .iter()
        .flat_map(|r| &r.points)
        .any(|p| p.client_limited);
    captions.extend(limited.then(|| CLIENT_NOTE.to_owned()));
    captions.extend(log_note(&panels));
    Chart {
        kind: ChartKind::RunTtft,
        stem: format!("ttft_comparison_ctx{context_size}"),
        title: "TTFT Comparison".to_owned(),
        subtitles: vec![format!("Context: {}", tokens(context_size))],
        captions,
        description: "Time to first token of all runs over the cache hit rate.".to_owned(),
        panels,
        height: 1000,
        shared_legend: true,
    }
}
