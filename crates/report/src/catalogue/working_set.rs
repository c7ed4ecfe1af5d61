//! Charts over the size of the working set: `performance_vs_working_set_<C>`, the three comparisons over
//! all contexts, and `cache_comparison_ctx<C>`.
//!
//! A plain name holds all hit rates, one group of panels for each; with more than one rate every group has
//! a page of its own too, `…_cache<r>`. Nothing here claims to know where one memory tier ends: the reader
//! sees it where a line drops.

use metrics::PeriodRow;
use metrics::retry::{Band, RateSource};

use super::comparison::{Line, OUTPUT_METRICS, SPEEDUP_LINES, output_panels, throughput_panel};
use super::performance::figures_over;
use super::{
    Mean, PAUSE_NOTE, RatePoint, Spread, captions, exact, figure_axis, log_note, rate_text,
    share_scales, tokens,
};
use crate::chart::{
    Axis, AxisRange, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Panel, Series,
    SeriesStyle, Side, Ticks,
};

/// One context at one hit rate.
#[derive(Debug, Clone, PartialEq)]
pub struct SetLine {
    /// Context size, tokens.
    pub context_size: u64,
    /// Target hit rate, percent.
    pub cache_hit_rate: u32,
    /// Working-set size in tokens, ascending, and the figures at it.
    pub points: Vec<(u64, RatePoint)>,
}

impl SetLine {
    fn over_sets(&self) -> Vec<(f64, &RatePoint)> {
        self.points
            .iter()
            .map(|(size, point)| (exact(*size), point))
            .collect()
    }

    /// The figures of a sustained test at every size that was active: means over the periods at it, bands
    /// from the lowest period to the highest.
    #[must_use]
    pub fn of_periods(context_size: u64, cache_hit_rate: u32, periods: &[PeriodRow]) -> Self {
        let mut sizes: Vec<u64> = periods.iter().filter_map(|p| p.working_set_size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let points = sizes.into_iter().filter_map(|size| {
            let at: Vec<&PeriodRow> = periods
                .iter()
                .filter(|p| p.working_set_size == Some(size))
                .collect();
            Some((size, point_of_periods(cache_hit_rate, &at)?))
        });
        Self {
            context_size,
            cache_hit_rate,
            points: points.collect(),
        }
    }
}

fn point_of_periods(rate: u32, periods: &[&PeriodRow]) -> Option<RatePoint> {
    let mean = |value: fn(&PeriodRow) -> Option<f64>| {
        let mut mean = Mean::default();
        for period in periods {
            mean.add(value(period));
        }
        mean.get()
    };
    let band = |value: fn(&PeriodRow) -> f64| -> Option<Band> {
        let values = || periods.iter().map(|p| value(p));
        let mut all = Mean::default();
        for v in values() {
            all.add(Some(v));
        }
        Some(Band {
            mean: all.get()?,
            min: values().reduce(f64::min)?,
            max: values().reduce(f64::max)?,
            std: None,
        })
    };
    let (input, output) = (
        band(|p| p.input_tokens_per_sec)?,
        band(|p| p.output_tokens_per_sec)?,
    );
    Some(RatePoint {
        rate,
        achieved_rate: None,
        input,
        output,
        source: RateSource::PeriodSpread,
        n_windows: periods.len(),
        pause_removed: false,
        summary_input: input.mean,
        summary_output: output.mean,
        avg_ttft: mean(|p| p.avg_ttft),
        avg_ttft_range: None,
        median_ttft: mean(|p| p.median_ttft),
        p95_ttft: mean(|p| p.p95_ttft),
        p99_ttft: mean(|p| p.p99_ttft),
        summary_ttft: mean(|p| p.avg_ttft),
        speed: mean(|p| p.avg_output_tokens_per_request),
        avg_itl: mean(|p| p.avg_itl),
        client_limited: periods.iter().any(|p| p.client_limited == Some(true)),
    })
}

/// All charts of a run that varies the working set. `lines` are sorted by context and rate.
#[must_use]
pub fn working_set_charts(lines: &[SetLine], max_ttft: Option<f64>) -> Vec<Chart> {
    let mut contexts: Vec<u64> = lines.iter().map(|l| l.context_size).collect();
    contexts.dedup();
    let mut rates: Vec<u32> = lines.iter().map(|l| l.cache_hit_rate).collect();
    rates.sort_unstable();
    rates.dedup();
    let mut charts = Vec::new();
    for context in contexts {
        let of_context: Vec<&SetLine> =
            lines.iter().filter(|l| l.context_size == context).collect();
        charts.push(performance(context, &of_context, max_ttft, None));
        if rates.len() > 1 {
            for line in &of_context {
                let rate = Some(line.cache_hit_rate);
                charts.push(performance(context, &[line], max_ttft, rate));
            }
        }
        charts.push(cache_comparison(context, &of_context));
    }
    if !lines.is_empty() {
        charts.extend(comparisons(lines, &rates, None));
    }
    if rates.len() > 1 {
        for rate in &rates {
            charts.extend(comparisons(lines, &[*rate], Some(*rate)));
        }
    }
    charts
}

/// The suffix of a page that shows one of several rates.
fn suffix(rate: Option<u32>) -> String {
    rate.map(|r| format!("_cache{r}")).unwrap_or_default()
}

/// `50%, 100%`.
fn list_of(rates: &[u32]) -> String {
    let texts: Vec<String> = rates.iter().map(|r| format!("{r}%")).collect();
    texts.join(", ")
}

fn about_rates(rates: &[u32]) -> String {
    match rates {
        [rate] => format!("Cache Hit Rate: {rate}%"),
        _ => format!("Cache Hit Rates: {}", list_of(rates)),
    }
}

/// From zero, or logarithmic where the sizes span two decades.
fn set_axis<'a>(lines: impl Iterator<Item = &'a SetLine>) -> Axis {
    let sizes: Vec<u64> = lines.flat_map(|l| l.points.iter().map(|p| p.0)).collect();
    let low = sizes.iter().copied().min().unwrap_or(0);
    let high = sizes.iter().copied().max().unwrap_or(0);
    Axis {
        title: "Working Set Size (tokens)".to_owned(),
        range: if low > 0 && high >= low.saturating_mul(100) {
            AxisRange::Log
        } else {
            AxisRange::FromZero
        },
        ticks: Ticks::Whole,
        format: NumberFormat::COUNT,
    }
}

fn sources<'a>(lines: impl Iterator<Item = &'a SetLine>, spread: Spread) -> Vec<String> {
    let points: Vec<&RatePoint> = lines.flat_map(|l| l.points.iter().map(|p| &p.1)).collect();
    let mut out = captions(points.iter().copied(), spread);
    if points.iter().any(|p| p.pause_removed) {
        out.push(PAUSE_NOTE.to_owned());
    }
    let mut achieved: Vec<String> = points
        .iter()
        .map(|p| rate_text(p.rate, p.achieved_rate))
        .filter(|text| text.contains('('))
        .collect();
    achieved.sort_unstable();
    achieved.dedup();
    if !achieved.is_empty() {
        out.push(format!(
            "Cached parts of prompts end on whole cache blocks: cache hit rate {}.",
            achieved.join(", ")
        ));
    }
    out
}

fn performance(
    context: u64,
    lines: &[&SetLine],
    max_ttft: Option<f64>,
    one_of_several: Option<u32>,
) -> Chart {
    let x = set_axis(lines.iter().copied());
    let mut panels = Vec::new();
    for line in lines {
        let mut group = figures_over(&line.over_sets(), &x, "Working Set Size", max_ttft);
        if lines.len() > 1 {
            for panel in &mut group {
                panel.title = format!("{} - Cache {}%", panel.title, line.cache_hit_rate);
            }
        }
        panels.extend(group);
    }
    share_scales(&mut panels);
    let rates: Vec<u32> = lines.iter().map(|l| l.cache_hit_rate).collect();
    Chart {
        kind: ChartKind::PerformanceVsWorkingSet,
        stem: format!("performance_vs_working_set_{context}{}", suffix(one_of_several)),
        title: "Performance vs Working Set Size".to_owned(),
        subtitles: vec![format!("Context: {} | {}", tokens(context), about_rates(&rates))],
        captions: sources(lines.iter().copied(), Spread::Band)
            .into_iter()
            .chain(log_note(&panels))
            .collect(),
        description: "Throughput and TTFT over the size of the working set, with the spread over repeated measurements."
            .to_owned(),
        height: 300 * u32::try_from(panels.len()).unwrap_or(3),
        panels,
        shared_legend: false,
    }
}

fn comparisons(lines: &[SetLine], rates: &[u32], one_of_several: Option<u32>) -> [Chart; 3] {
    let of_rate = |rate: u32| lines.iter().filter(move |l| l.cache_hit_rate == rate);
    let shown = || rates.iter().flat_map(|rate| of_rate(*rate));
    let mut contexts: Vec<u64> = lines.iter().map(|l| l.context_size).collect();
    contexts.dedup();
    let x = set_axis(shown());
    let lines_of = |rate: u32| -> Vec<Line<'_>> {
        of_rate(rate)
            .map(|line| {
                // A context keeps its colour on all panels, also where another one has no such rate.
                let place = contexts.iter().position(|c| *c == line.context_size);
                Line::of_context(place.unwrap_or(0), line.context_size, line.over_sets())
            })
            .collect()
    };
    let name = |rate: u32| {
        if rates.len() > 1 {
            format!("Cache Hit Rate: {rate}%")
        } else {
            String::new()
        }
    };
    let about = vec![about_rates(rates)];
    let throughput = |side: &str, value: fn(&RatePoint) -> f64| {
        let mut panels: Vec<Panel> = rates
            .iter()
            .map(|rate| {
                let title = |_: &[u32]| "Speedup (relative to smallest working set)".to_owned();
                let (panel, _) = throughput_panel(side, &lines_of(*rate), &x, value, title);
                Panel {
                    title: name(*rate),
                    ..panel
                }
            })
            .collect();
        share_scales(&mut panels);
        let mut captions = sources(shown(), Spread::Hidden);
        captions.push(format!(
            "{SPEEDUP_LINES} throughput divided by that of the same context at its smallest working set."
        ));
        captions.extend(log_note(&panels));
        Chart {
            kind: ChartKind::SetThroughputComparison,
            stem: format!(
                "{}_throughput_comparison{}",
                side.to_lowercase(),
                suffix(one_of_several)
            ),
            title: format!("{side} Throughput Comparison Across Working Set Sizes"),
            subtitles: about.clone(),
            captions,
            description: format!(
                "{side} tokens per second of every context over the size of the working set."
            ),
            height: 180 + 420 * u32::try_from(panels.len()).unwrap_or(1),
            panels,
            shared_legend: false,
        }
    };
    let mut panels = Vec::new();
    for rate in rates {
        let mut pair = output_panels(&lines_of(*rate), &x, "Across Working Set Sizes");
        if rates.len() > 1 {
            for panel in &mut pair {
                panel.title = format!("{} - Cache {rate}%", panel.title);
            }
        }
        panels.extend(pair);
    }
    share_scales(&mut panels);
    let from_periods = shown().any(|l| {
        l.points
            .iter()
            .any(|p| p.1.source == RateSource::PeriodSpread)
    });
    let output = Chart {
        kind: ChartKind::SetOutputMetrics,
        stem: format!("output_metrics_comparison{}", suffix(one_of_several)),
        title: "Output Token Metrics Comparison Across Working Set Sizes".to_owned(),
        subtitles: about.clone(),
        captions: std::iter::once(
            if from_periods { PERIOD_MEANS } else { OUTPUT_METRICS }.to_owned(),
        )
        .chain(log_note(&panels))
        .collect(),
        description: "Inter-token latency and generation speed of one request over the size of the working set."
            .to_owned(),
        height: 400 * u32::try_from(panels.len()).unwrap_or(2),
        panels,
        shared_legend: false,
    };
    [
        throughput("Input", |p| p.input.mean),
        throughput("Output", |p| p.output.mean),
        output,
    ]
}

/// Said where figures are not the summary's but those of the periods at a size.
const PERIOD_MEANS: &str =
    "Figures are means over the assessment periods at each size of the working set.";

/// All rates of one context side by side, from the summary.
fn cache_comparison(context: u64, lines: &[&SetLine]) -> Chart {
    let x = set_axis(lines.iter().copied());
    let panel = |title: &str, format, value: fn(&RatePoint) -> Option<f64>| {
        let series = lines.iter().enumerate().map(|(i, line)| Series {
            key: format!("rate-{}", line.cache_hit_rate),
            name: format!("{}% cache", line.cache_hit_rate),
            ink: Ink::Rate(line.cache_hit_rate),
            style: SeriesStyle::Line {
                dash: match i / Marker::LINES.len() {
                    0 => Dash::Solid,
                    round => Dash::BROKEN[(round - 1) % Dash::BROKEN.len()],
                },
                marker: Marker::LINES[i % Marker::LINES.len()],
            },
            side: Side::Left,
            format,
            points: line
                .over_sets()
                .into_iter()
                .map(|(x, p)| crate::chart::Point::line(x, value(p)))
                .collect(),
        });
        let series: Vec<Series> = series.collect();
        Panel {
            title: String::new(),
            x: x.clone(),
            y: figure_axis(title, format, &series),
            y2: None,
            body: Body::Series(series),
            lines: Vec::new(),
        }
    };
    let rates: Vec<u32> = lines.iter().map(|l| l.cache_hit_rate).collect();
    let from_periods = lines.iter().any(|l| {
        l.points
            .iter()
            .any(|p| p.1.source == RateSource::PeriodSpread)
    });
    let panels = vec![
        panel("Input Tokens/s", NumberFormat::THROUGHPUT, |p| {
            Some(p.summary_input)
        }),
        panel("Output Tokens/s", NumberFormat::THROUGHPUT, |p| {
            Some(p.summary_output)
        }),
        panel("TTFT (seconds)", NumberFormat::SECONDS, |p| p.summary_ttft),
        panel("Output Tokens/s per Request", NumberFormat::SPEED, |p| {
            p.speed
        }),
    ];
    let mut captions = vec![
        if from_periods {
            PERIOD_MEANS
        } else {
            "Figures are those of the summary file: means over the requests at the peak level of each test."
        }
        .to_owned(),
    ];
    captions.extend(log_note(&panels));
    Chart {
        kind: ChartKind::CacheComparison,
        stem: format!("cache_comparison_ctx{context}"),
        title: "Cache Hit Rate Comparison Across Working Set Sizes".to_owned(),
        subtitles: vec![format!(
            "Context: {} | Cache Rates: {}",
            tokens(context),
            list_of(&rates)
        )],
        captions,
        description: "All cache hit rates of one context over the size of the working set."
            .to_owned(),
        panels,
        height: 1200,
        shared_legend: true,
    }
}
