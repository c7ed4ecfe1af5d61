//! From the rows of a run to its charts, and from charts to pages in its directory.
//!
//! A chart is drawn from the rows that belong to it and to nothing else: contexts never mix, and a test
//! without a summary row has no chart, because its peak is not known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use metrics::record::RequestRecord;
use metrics::retry::RateSource;
use metrics::{PeriodRow, PhaseRow, SummaryRow};

use super::{
    ConcurrencyInput, ContextPoints, PerformanceInput, RatePoint, SetLine, SustainedInput,
    client_health_chart, concurrency_chart, input_throughput_comparison, output_metrics_comparison,
    output_throughput_comparison, performance_chart, sustained_chart, sustained_comparison,
    sustained_set_chart, ttft_heatmap, working_set_charts,
};
use crate::atomic::FileError;
use crate::chart::Chart;
use crate::data::RunData;
use crate::page::{PageContext, write_chart};
use crate::test_name::TestName;

/// The figures of every context of a run, contexts and rates ascending. Tests of a tool that varies
/// the working set are left out: they have charts of their own.
#[must_use]
pub fn contexts_of_run(data: &RunData) -> Vec<ContextPoints> {
    by_context(data, rows(data))
}

/// The figures of every row of the summary, whatever its working set.
#[must_use]
pub fn points_by_context(data: &RunData) -> Vec<ContextPoints> {
    by_context(data, data.summary.iter())
}

fn by_context<'a>(
    data: &RunData,
    rows: impl Iterator<Item = &'a SummaryRow>,
) -> Vec<ContextPoints> {
    let mut contexts: Vec<ContextPoints> = Vec::new();
    for row in rows {
        let mut point = point_of(data, row);
        if point.source.is_summary() && data.periods.contains_key(&TestName::from(row)) {
            // The summary row of a sustained test is no makeshift: it is made of the test's periods.
            point.source = RateSource::Periods;
        }
        match contexts.last_mut() {
            Some(last) if last.context_size == row.context_size => last.points.push(point),
            _ => contexts.push(ContextPoints {
                context_size: row.context_size,
                points: vec![point],
            }),
        }
    }
    // Rows of one context may be sorted by their working set first.
    for context in &mut contexts {
        context.points.sort_by_key(|point| point.rate);
    }
    contexts
}

/// Whether the run counted only requests within their window.
fn is_strict(data: &RunData) -> bool {
    let stored = data.parameter("strict_time_window");
    stored.and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// The figures of one row of the summary.
fn point_of(data: &RunData, row: &SummaryRow) -> RatePoint {
    let strict = is_strict(data);
    let test = TestName::from(row);
    let phases: Vec<PhaseRow> = data.phases_of(test).cloned().collect();
    RatePoint::from_samples(row, &phases, data.samples(test), strict)
}

/// The figures of a run that varies the working set, by context and rate, sizes ascending. A sustained test
/// yields a point for every size that was active in it.
#[must_use]
pub fn set_lines_of_run(data: &RunData) -> Vec<SetLine> {
    let mut lines: BTreeMap<(u64, u32), SetLine> = BTreeMap::new();
    for input in sustained_set_tests(data) {
        let key = (input.test.context_size, input.test.cache_hit_rate);
        let line = SetLine::of_periods(key.0, key.1, &input.periods);
        lines.insert(key, line);
    }
    for row in &data.summary {
        let (Some(size), test) = (row.working_set_size, TestName::from(row)) else {
            continue;
        };
        if data.periods.contains_key(&test) {
            continue;
        }
        let key = (row.context_size, row.cache_hit_rate);
        let line = lines.entry(key).or_insert_with(|| SetLine {
            context_size: key.0,
            cache_hit_rate: key.1,
            points: Vec::new(),
        });
        line.points.push((size, point_of(data, row)));
    }
    let mut lines: Vec<SetLine> = lines.into_values().collect();
    for line in &mut lines {
        line.points.sort_by_key(|point| point.0);
        line.points.dedup_by_key(|point| point.0);
    }
    lines
}

/// The charts over all tests: performance of every context, comparisons and, with two contexts, the heat
/// map; for a run that varies the working set the charts over its size. What the client did to all of them comes last.
#[must_use]
pub fn comparison_charts(data: &RunData) -> Vec<Chart> {
    let mut charts = charts_over_tests(data);
    charts.extend(client_health_chart(&data.health));
    charts
}

fn charts_over_tests(data: &RunData) -> Vec<Chart> {
    let sets = set_lines_of_run(data);
    if !sets.is_empty() {
        return working_set_charts(&sets, max_ttft(data));
    }
    let contexts = contexts_of_run(data);
    if contexts.is_empty() {
        return sustained_comparisons(data);
    }
    let mut charts: Vec<Chart> = contexts
        .iter()
        .map(|context| {
            let of_context: Vec<SummaryRow> = rows(data)
                .filter(|row| row.context_size == context.context_size)
                .cloned()
                .collect();
            let named = of_context.iter().any(|row| row.model.is_some());
            performance_chart(&PerformanceInput {
                context_size: context.context_size,
                points: context.points.clone(),
                summary: named.then(|| PerformanceInput::summary_of(&of_context)),
                max_ttft: max_ttft(data),
            })
        })
        .collect();
    charts.push(input_throughput_comparison(&contexts));
    charts.push(output_throughput_comparison(&contexts));
    charts.push(output_metrics_comparison(&contexts));
    charts.extend(ttft_heatmap(&contexts));
    charts.extend(sustained_comparisons(data));
    charts
}

/// The sustained tests of a run, by rate and then context: those that have a result, or all where there is
/// no summary, as the originals of the working-set tool left none.
#[must_use]
pub fn sustained_tests(data: &RunData) -> Vec<SustainedInput> {
    let mut tests = all_sustained(data, |test| test.working_set_size.is_none());
    tests.sort_by_key(|input| (input.test.cache_hit_rate, input.test.context_size));
    tests
}

/// The same for tests whose working set grows, by context and rate.
fn sustained_set_tests(data: &RunData) -> Vec<SustainedInput> {
    all_sustained(data, |test| test.working_set_size.is_some())
}

fn all_sustained(data: &RunData, wanted: impl Fn(&TestName) -> bool) -> Vec<SustainedInput> {
    data.finished_sustained()
        .filter(|(test, _)| wanted(test))
        .map(|(test, periods)| SustainedInput {
            test: *test,
            periods: periods.to_vec(),
            max_ttft: max_ttft(data),
            min_speed: min_speed(data),
        })
        .collect()
}

/// The chart of a sustained test: seconds and contexts side by side, or minutes and a growing working set.
fn sustained(input: &SustainedInput) -> Chart {
    if input.test.working_set_size.is_some() {
        sustained_set_chart(input)
    } else {
        sustained_chart(input)
    }
}

/// One chart per rate that has two contexts or more.
fn sustained_comparisons(data: &RunData) -> Vec<Chart> {
    sustained_tests(data)
        .chunk_by(|a, b| a.test.cache_hit_rate == b.test.cache_hit_rate)
        .filter_map(sustained_comparison)
        .collect()
}

/// The chart of every test, drawn one by one: over the level where it explored levels, over time where it
/// has periods.
pub fn each_test_chart(data: &RunData) -> impl Iterator<Item = (TestName, Chart)> {
    let over_levels = data.summary.iter().filter_map(|row| {
        let test = TestName::from(row);
        let phases: Vec<PhaseRow> = data.phases_of(test).cloned().collect();
        let input = ConcurrencyInput::from_samples(
            row,
            &phases,
            data.samples(test),
            max_ttft(data),
            is_strict(data),
        )?;
        Some((test, concurrency_chart(&input)))
    });
    let over_time = sustained_tests(data)
        .into_iter()
        .chain(sustained_set_tests(data))
        .map(|input| (input.test, sustained(&input)));
    over_levels.chain(over_time)
}

/// The chart of every test.
#[must_use]
pub fn test_charts(data: &RunData) -> Vec<Chart> {
    each_test_chart(data).map(|(_, chart)| chart).collect()
}

/// TTFT threshold of a run, seconds.
#[must_use]
pub fn max_ttft(data: &RunData) -> Option<f64> {
    data.parameter("max_ttft")?
        .as_f64()
        .filter(|v| v.is_finite() && *v > 0.0)
}

/// Speed threshold of a run, tokens/s.
#[must_use]
pub fn min_speed(data: &RunData) -> Option<f64> {
    data.parameter("min_tokens_per_req")?
        .as_f64()
        .filter(|v| v.is_finite() && *v > 0.0)
}

/// Writes the chart of one sustained test from its periods in memory.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_sustained_chart(
    dir: &Path,
    summary: &SummaryRow,
    periods: &[PeriodRow],
    (max_ttft, min_speed): (Option<f64>, Option<f64>),
    context: &PageContext,
) -> Result<PathBuf, FileError> {
    let input = SustainedInput {
        test: TestName::from(summary),
        periods: periods.to_vec(),
        max_ttft,
        min_speed,
    };
    write_chart(dir, &sustained(&input), context)
}

/// Writes the concurrency chart of one test from the rows in memory; `None` when the test explored no
/// levels, so that there is nothing to draw. `phases` and `records` hold this test only.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_test_chart<'a>(
    dir: &Path,
    summary: &SummaryRow,
    phases: &[PhaseRow],
    records: impl IntoIterator<Item = &'a RequestRecord>,
    (max_ttft, strict): (Option<f64>, bool),
    context: &PageContext,
) -> Result<Option<PathBuf>, FileError> {
    ConcurrencyInput::from_rows(summary, phases, records, max_ttft, strict)
        .map(|input| write_chart(dir, &concurrency_chart(&input), context))
        .transpose()
}

/// Writes the performance, comparison and heat-map pages of a run and returns their paths.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_comparison_charts(
    dir: &Path,
    data: &RunData,
    context: &PageContext,
) -> Result<Vec<PathBuf>, FileError> {
    comparison_charts(data)
        .iter()
        .map(|chart| write_chart(dir, chart, context))
        .collect()
}

/// Writes the chart of every test of a run and returns the paths.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_test_charts(
    dir: &Path,
    data: &RunData,
    context: &PageContext,
) -> Result<Vec<PathBuf>, FileError> {
    test_charts(data)
        .iter()
        .map(|chart| write_chart(dir, chart, context))
        .collect()
}

/// Rows of a cache-rate run, by context and rate.
fn rows(data: &RunData) -> impl Iterator<Item = &SummaryRow> {
    data.summary
        .iter()
        .filter(|row| row.working_set_size.is_none())
}
