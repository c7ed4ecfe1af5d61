//! One CSV file by itself: columns in their order, every row of the right types and within itself
//! consistent.

use std::collections::HashSet;
use std::io::BufReader;

use metrics::health::HealthRow;
use metrics::schema::{
    self, FailedRow, Row, RowReader, RowWriter, SchemaError, SetColumns, read_detail,
};
use metrics::{PeriodRow, PhaseRow, RequestRecord, SinglePromptRow, SummaryRow};

use super::{Findings, Validation};
use crate::data::open::{is_torn, open_file};
use crate::data::{DataWarning, causes};
use crate::files::{FileKind, failed};
use crate::stamp::StampedFile;
use crate::test_name::TestName;

/// Unix seconds as f64 resolve 0.24 µs; sums of two such roundings stay well below this.
const CLOCK_SLACK: f64 = 2e-6;

pub(super) fn check(kind: FileKind, file: &StampedFile, found: &mut Validation) {
    found.counts.tables += 1;
    if file.stamp.is_none() {
        found.error(&file.name, "the name has no time stamp");
    }
    if let Err(message) = check_form(kind, file) {
        found.error(&file.name, message);
        return;
    }
    match kind {
        FileKind::Summary => check_rows(file, found, check_summary),
        FileKind::Phases => check_rows(file, found, check_phase),
        FileKind::Periods => check_rows(file, found, check_period),
        FileKind::Failed(_) => check_failed(file, found),
        FileKind::Detail(context) => check_detail(context, file, found),
        FileKind::Health => check_rows(file, found, check_health),
        FileKind::SinglePrompt => check_rows(file, found, check_single_prompt),
        FileKind::RunCommand => {}
    }
}

/// The header, and that the file ends with a line end.
fn check_form(kind: FileKind, file: &StampedFile) -> Result<(), String> {
    use std::io::BufRead as _;

    let mut handle = open_file(&file.path).map_err(|e| causes(&e))?;
    if is_torn(&mut handle).map_err(|e| e.to_string())? {
        return Err("the last line has no line end".to_owned());
    }
    let mut header = String::new();
    BufReader::new(handle)
        .read_line(&mut header)
        .map_err(|e| e.to_string())?;
    let expected = [SetColumns::Without, SetColumns::Size, SetColumns::Growing]
        .map(|set| header_of(kind, set));
    if expected.iter().flatten().any(|line| *line == header) {
        return Ok(());
    }
    let [Ok(plain), ..] = &expected else {
        return Err("no header is known for this kind of file".to_owned());
    };
    let differs = plain
        .trim_end()
        .split(',')
        .zip(header.trim_end().split(',').chain(std::iter::repeat("")))
        .find(|(want, have)| want != have);
    Err(match differs {
        Some((want, "")) => format!("column {want} is missing"),
        Some((want, have)) => format!("column {have} stands where {want} should"),
        None => "there are more columns than the file should have".to_owned(),
    })
}

/// The header line that our writers give this kind of file.
fn header_of(kind: FileKind, set: SetColumns) -> Result<String, SchemaError> {
    let mut line = Vec::new();
    match kind {
        FileKind::Summary => schema::write_summary(&mut line, &[], set)?,
        FileKind::Phases => schema::write_phases(&mut line, &[], set)?,
        FileKind::Periods => schema::write_periods(&mut line, &[], set)?,
        FileKind::Detail(_) => {
            schema::DetailWriter::with_columns(&mut line, set)?;
        }
        FileKind::Failed(_) => line = failed::header()?.into_bytes(),
        FileKind::Health => schema::write_health(&mut line, &[], set)?,
        FileKind::SinglePrompt => {
            RowWriter::<_, SinglePromptRow>::new(&mut line, set)?;
        }
        FileKind::RunCommand => {}
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Opens a file as rows; an unreadable one is a finding.
fn rows<I>(
    file: &StampedFile,
    found: &mut Validation,
    reader: impl FnOnce(BufReader<std::fs::File>) -> Result<I, SchemaError>,
) -> Option<I> {
    let opened = open_file(&file.path)
        .map_err(|e| causes(&e))
        .and_then(|handle| reader(BufReader::new(handle)).map_err(|e| causes(&e)));
    opened
        .map_err(|message| found.errors.push(DataWarning::new(&file.name, message)))
        .ok()
}

fn check_rows<T: Row>(
    file: &StampedFile,
    found: &mut Validation,
    check: fn(&T, &mut HashSet<String>, &mut Findings<'_>),
) {
    let Some(rows) = rows(file, found, RowReader::<_, T>::new) else {
        return;
    };
    let mut findings = Findings::of(found, &file.name);
    let mut seen = HashSet::new();
    for row in rows {
        match row {
            Ok(row) => check(&row, &mut seen, &mut findings),
            Err(error) => findings.error(|| causes(&error)),
        }
    }
}

fn check_summary(row: &SummaryRow, seen: &mut HashSet<String>, findings: &mut Findings<'_>) {
    let test = TestName::from(row);
    findings.expect(seen.insert(test.to_string()), || {
        format!("test {test} has two rows")
    });
    findings.expect(row.cache_hit_rate <= 100, || {
        format!("test {test}: a hit rate above 100 %")
    });
    for (name, median, p95, p99) in [
        ("ttft", row.median_ttft, row.p95_ttft, row.p99_ttft),
        ("ttlt", row.median_ttlt, row.p95_ttlt, row.p99_ttlt),
        ("itl", row.median_itl, row.p95_itl, row.p99_itl),
    ] {
        let ordered = median <= p95 && p95 <= p99;
        findings.expect(ordered, || {
            format!("test {test}: the percentiles of {name} are not in order")
        });
    }
}

fn check_health(row: &HealthRow, seen: &mut HashSet<String>, findings: &mut Findings<'_>) {
    let (test, id) = (TestName::from(row), &row.phase_id);
    findings.expect(seen.insert(format!("{test} {id}")), || {
        format!("test {test} has two rows of {id}")
    });
    let is_limited = row.client_limited == Some(true);
    findings.expect(row.limited_by.is_empty() != is_limited, || {
        format!("{id} of {test}: what limits it and whether something does disagree")
    });
    let mean = metrics::percentile::mean(&row.in_flight);
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    let agrees = match (mean, row.achieved_in_flight) {
        (Some(of_parts), Some(stored)) => near(stored, of_parts),
        (None, None) => true,
        _ => false,
    };
    findings.expect(agrees, || {
        format!("{id} of {test}: the requests in flight are not the mean of their parts")
    });
}

fn check_phase(row: &PhaseRow, seen: &mut HashSet<String>, findings: &mut Findings<'_>) {
    let (test, id) = (TestName::from(row), &row.phase_id);
    findings.expect(seen.insert(format!("{test} {id}")), || {
        format!("test {test} has two phases {id}")
    });
    let span = row.end_time - row.start_time;
    findings.expect((span - row.duration).abs() <= CLOCK_SLACK, || {
        format!("phase {id} of {test}: the duration is not end − start")
    });
    let ended = [row.num_requests_failed, row.num_requests_cancelled]
        .into_iter()
        .flatten()
        .sum::<u64>()
        + row.num_requests_completed;
    // A period counts first tokens, also those of requests that the period before launched.
    let is_closed = row.phase_type() != "SUSTAINED";
    findings.expect(!is_closed || row.num_requests_launched == ended, || {
        format!(
            "phase {id} of {test}: {} requests were launched and {ended} ended",
            row.num_requests_launched
        )
    });
    let window = [
        row.window_start_time,
        row.window_duration,
        row.window_input_tokens_per_sec,
        row.window_output_tokens_per_sec,
    ];
    let known = window.iter().flatten().count();
    let is_broken_off = row.was_broken_off() && row.window_duration.is_some() && known == 2;
    findings.expect(is_broken_off || known == 0 || known == window.len(), || {
        format!("phase {id} of {test}: some window columns are empty and others are not")
    });
}

fn check_period(row: &PeriodRow, seen: &mut HashSet<String>, findings: &mut Findings<'_>) {
    let (test, n) = (TestName::from(row), row.period_number);
    findings.expect(seen.insert(n.to_string()), || format!("two periods {n}"));
    let span = row.end_time - row.start_time;
    findings.expect((span - row.duration).abs() <= CLOCK_SLACK, || {
        format!("period {n} of {test}: the duration is not end − start")
    });
}

fn check_single_prompt(
    row: &SinglePromptRow,
    _: &mut HashSet<String>,
    findings: &mut Findings<'_>,
) {
    findings.expect(row.is_unique() || row.is_cached(), || {
        format!("`{}` is no prompt type", row.prompt_type)
    });
    findings.expect(row.ttft <= row.total_time, || {
        "a request ended before its first token".to_owned()
    });
}

fn check_failed(file: &StampedFile, found: &mut Validation) {
    let Some(rows) = rows(file, found, RowReader::<_, FailedRow>::new) else {
        return;
    };
    let mut n_rows = 0;
    let mut findings = Findings::of(found, &file.name);
    // Ids repeat from test to test; with the launch they do not.
    let mut seen = HashSet::new();
    for row in rows {
        n_rows += 1;
        match row {
            Ok(row) => {
                let is_new = seen.insert((row.request_id.clone(), row.launch_time.to_bits()));
                findings.expect(is_new, || {
                    format!("request {} stands twice", row.request_id)
                });
                findings.expect(row.elapsed >= 0.0, || {
                    format!("request {}: a negative time", row.request_id)
                });
                findings.expect(!row.message.is_empty(), || {
                    format!("request {}: no message", row.request_id)
                });
            }
            Err(error) => findings.error(|| causes(&error)),
        }
    }
    drop(findings);
    found.counts.failed_rows += n_rows;
}

fn check_detail(context: u64, file: &StampedFile, found: &mut Validation) {
    let Some(rows) = rows(file, found, read_detail) else {
        return;
    };
    let mut n_rows = 0;
    let mut findings = Findings::of(found, &file.name);
    let mut seen = HashSet::new();
    for row in rows {
        n_rows += 1;
        match row {
            Ok(row) => {
                let test = TestName::from(&row.intent);
                let id = row.intent.request_id.clone();
                findings.expect(test.context_size == context, || {
                    format!("request {id} is of context {}", test.context_size)
                });
                findings.expect(seen.insert((test, id.clone())), || {
                    format!("request {id} of test {test} stands twice")
                });
                for problem in record_problems(&row) {
                    findings.error(|| format!("request {id} of test {test}: {problem}"));
                }
            }
            Err(error) => findings.error(|| causes(&error)),
        }
    }
    drop(findings);
    found.counts.detail_rows += n_rows;
}

/// What does not agree within one row.
fn record_problems(row: &RequestRecord) -> Vec<&'static str> {
    let near = |a: f64, b: f64| (a - b).abs() <= CLOCK_SLACK;
    let is_after = |a: f64, b: f64| a - b >= -CLOCK_SLACK;
    let mut problems = Vec::new();
    let mut expect = |holds: bool, problem: &'static str| {
        if !holds {
            problems.push(problem);
        }
    };
    let stamps = &row.token_timestamps;
    expect(
        stamps.len() == row.tokens_per_chunk.len(),
        "the two lists differ in length",
    );
    expect(
        row.tokens_per_chunk.iter().sum::<u64>() == row.output_tokens,
        "the tokens per chunk do not sum to output_tokens",
    );
    expect(
        stamps.is_sorted_by(|a, b| a <= b),
        "the token timestamps go back",
    );
    expect(
        near(row.finish_time - row.launch_time, row.total_time),
        "total_time is not finish − launch",
    );
    expect(
        is_after(row.prefill_complete_time, row.launch_time),
        "the first token came before the launch",
    );
    expect(
        near(
            row.prefill_complete_time - row.launch_time,
            row.ttft.unwrap_or(0.0),
        ),
        "ttft is not prefill_complete − launch",
    );
    if let (Some(first), Some(last)) = (stamps.first(), stamps.last()) {
        expect(
            near(*first, row.prefill_complete_time),
            "the first token timestamp is not prefill_complete_time",
        );
        expect(
            row.ttlt
                .is_some_and(|ttlt| near(last - row.launch_time, ttlt)),
            "ttlt is not last token − launch",
        );
        expect(
            is_after(row.finish_time, *last),
            "the last token came after the finish",
        );
    } else {
        expect(row.ttft.is_none(), "there is a ttft but no token timestamp");
    }
    expect(
        is_after(row.finish_time, row.prefill_complete_time),
        "the first token came after the finish",
    );
    expect(
        row.generation_time
            .is_none_or(|time| near(row.finish_time - row.prefill_complete_time, time)),
        "generation_time is not finish − first token",
    );
    if let (Some(itl), Some(ttft), Some(ttlt)) = (row.itl, row.ttft, row.ttlt) {
        expect(
            row.output_tokens > 1 && near(itl * (row.output_tokens - 1) as f64, ttlt - ttft),
            "itl is not (ttlt − ttft) / (output tokens − 1)",
        );
    }
    expect(
        row.intent.request_id.contains("_r"),
        "the id has no request number",
    );
    problems
}
