//! Writes every kind of chart page into a directory, for looking at.
//!
//! `cargo run -p report --example chart_gallery -- DIR [RESULT_DIR…]` draws made-up figures into `DIR`
//! and the charts of each result directory into a directory of its name below `DIR`.

use std::error::Error;
use std::path::{Path, PathBuf};

use metrics::retry::{Band, RateSource};
use report::catalogue::{
    ConcurrencyInput, ContextPoints, LevelPoint, LevelSource, PerformanceInput, RatePoint,
    SummaryLine, WindowKind, concurrency_chart, input_throughput_comparison,
    output_metrics_comparison, output_throughput_comparison, performance_chart, ttft_heatmap,
    write_comparison_charts, write_test_charts,
};
use report::chart::{Chart, Dash, Ink, Marker, NumberFormat, Point, Series, SeriesStyle, Side};
use report::data::RunData;
use report::page::{PageContext, write_chart};
use report::single_prompt::write_single_prompt_pages;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let out = args
        .next()
        .ok_or("usage: chart_gallery DIR [RESULT_DIR…]")?;
    std::fs::create_dir_all(&out)?;
    made_up(&out)?;
    for source in args {
        let target = out.join(source.file_name().ok_or("a result directory has a name")?);
        std::fs::create_dir_all(&target)?;
        for entry in std::fs::read_dir(&source)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), target.join(entry.file_name()))?;
            }
        }
        let data = RunData::read(&target);
        let context = PageContext {
            model: data.model().map(str::to_owned),
            version: "0.0".to_owned(),
        };
        write_comparison_charts(&target, &data, &context)?;
        write_test_charts(&target, &data, &context)?;
        if !data.single_prompt.is_empty() {
            write_single_prompt_pages(
                &target,
                &data.single_prompt,
                &data.limited_sizes(),
                &context,
            )?;
        }
        report::index::write_index(&target, "0.0")?;
    }
    Ok(())
}

fn made_up(out: &Path) -> Result<(), Box<dyn Error>> {
    let context = PageContext {
        model: Some("demo/<b>Model</b> & \"friends\" 🚀-70B".to_owned()),
        version: "0.0".to_owned(),
    };
    let contexts: Vec<ContextPoints> = [1_000u64, 8_000, 32_000, 128_000]
        .into_iter()
        .map(figures)
        .collect();
    let mut charts: Vec<Chart> = vec![
        ramp(WindowKind::Ramp, 32_000, 50, &[2, 12, 22, 32, 42, 37, 39]),
        ramp(WindowKind::Fixed, 8_000, 0, &[4]),
        ramp(WindowKind::Ramp, 128_000, 95, &[1, 3, 8, 21, 55, 144, 377]),
        performance_chart(&PerformanceInput {
            context_size: 32_000,
            points: contexts[2].points.clone(),
            summary: Some(line()),
            max_ttft: Some(2.0),
        }),
        input_throughput_comparison(&contexts),
        output_throughput_comparison(&contexts[..1]),
        output_metrics_comparison(&contexts),
        ttft_heatmap(&contexts).ok_or("four contexts make a heat map")?,
        dense(),
    ];
    let lone: Vec<ContextPoints> = contexts
        .iter()
        .map(|c| ContextPoints {
            context_size: c.context_size,
            points: vec![c.points[10].clone()],
        })
        .collect();
    let mut one_rate = performance_chart(&PerformanceInput {
        context_size: 8_000,
        points: lone[1].points.clone(),
        summary: None,
        max_ttft: Some(0.1),
    });
    one_rate.stem = "performance_one_point".to_owned();
    charts.push(one_rate);
    for chart in &charts {
        write_chart(out, chart, &context)?;
    }
    report::index::write_index(out, "0.0")?;
    Ok(())
}

fn line() -> SummaryLine {
    SummaryLine {
        input_tokens: 123.4e6,
        output_tokens: 3.2e6,
        avg_ttft: Some(0.812),
        avg_speed: Some(41.2),
        requests: 12_345,
    }
}

/// A smooth made-up study: throughput grows and TTFT falls with the hit rate.
fn figures(context_size: u64) -> ContextPoints {
    let size = f64::from(u32::try_from(context_size).unwrap_or(u32::MAX));
    let points = (0..=20u32)
        .map(|i| {
            let rate = i * 5;
            let share = f64::from(rate) / 100.0;
            let wobble = 1.0 + 0.04 * (f64::from(i) * 1.7 + size).sin();
            let input = 21_000.0 * wobble / (1.0 - 0.86 * share) / (1.0 + size / 150_000.0);
            let output = input * 256.0 / size;
            let ttft = 0.35 + size / 60_000.0 * (1.0 - 0.9 * share) * wobble;
            let band = |mean: f64, width: f64| Band {
                mean,
                min: mean * (1.0 - width),
                max: mean * (1.0 + width * 0.8),
                std: Some(1.0),
            };
            let gap = rate == 70 && context_size == 32_000;
            RatePoint {
                rate,
                achieved_rate: None,
                input: band(input, 0.07),
                output: band(output, 0.05),
                source: if rate == 35 && context_size == 32_000 {
                    RateSource::SummaryPublished
                } else {
                    RateSource::Window
                },
                n_windows: 4,
                pause_removed: false,
                summary_input: input,
                summary_output: output,
                avg_ttft_range: None,
                avg_ttft: (!gap).then_some(ttft),
                median_ttft: (!gap).then_some(ttft * 0.96),
                p95_ttft: (!gap).then_some(ttft * 1.35),
                p99_ttft: (!gap).then_some(ttft * 1.6),
                summary_ttft: (!gap).then_some(ttft),
                speed: Some(30.0 + 14.0 * share * wobble),
                avg_itl: Some(0.021 + 0.000_000_1 * size * wobble),
                client_limited: false,
            }
        })
        .collect();
    ContextPoints {
        context_size,
        points,
    }
}

fn ramp(kind: WindowKind, context_size: u64, rate: u32, levels: &[u32]) -> Chart {
    let mut levels = levels.to_vec();
    levels.sort_unstable();
    let levels: Vec<LevelPoint> = levels
        .into_iter()
        .map(|concurrency| {
            let c = f64::from(concurrency);
            let input = 96_000.0 * c / (c + 14.0);
            LevelPoint {
                concurrency,
                input: Some(input),
                output: Some(input / 125.0),
                avg_ttft: Some(0.12 + c * 0.03),
                max_ttft: Some(0.3 + c * 0.052),
                p95_ttft: Some(0.2 + c * 0.044),
                n_windows: 1,
                failed: (concurrency == 42).then_some(3),
                client_limited: false,
            }
        })
        .collect();
    let peak = levels[levels.len() * 3 / 4].concurrency;
    concurrency_chart(&ConcurrencyInput {
        kind,
        context_size,
        working_set_size: None,
        cache_hit_rate: rate,
        achieved_rate: None,
        levels,
        source: LevelSource::Window,
        max_ttft: Some(2.0),
        peak: Some(peak),
        summary: Some(line()),
    })
}

/// Two thousand points, as a long sustained run would have.
fn dense() -> Chart {
    let mut chart = ramp(WindowKind::Ramp, 1_000, 0, &[1, 2000]);
    chart.stem = "dense".to_owned();
    let points = |phase: f64| {
        (1..=2000u32).map(move |i| {
            let x = f64::from(i);
            Point::line(
                x,
                (i % 400 != 0).then_some(
                    5_000.0 + 2_000.0 * (x / 90.0 + phase).sin() + 300.0 * (x * 1.3).sin(),
                ),
            )
        })
    };
    for (panel, phase) in chart.panels.iter_mut().zip([0.0, 1.0, 2.0]) {
        let series = |key: &str, ink, dash, marker, shift: f64| Series {
            key: format!("{key}-{phase}"),
            name: key.to_owned(),
            ink,
            style: SeriesStyle::Line { dash, marker },
            side: Side::Left,
            format: NumberFormat::THROUGHPUT,
            points: points(phase + shift).collect(),
        };
        panel.body = report::chart::Body::Series(vec![
            series("first", Ink::Blue, Dash::Solid, Marker::Circle, 0.0),
            series("second", Ink::Orange, Dash::Dotted, Marker::Square, 1.2),
        ]);
        panel.lines.clear();
    }
    chart
}
