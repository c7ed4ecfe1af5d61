//! The periods of a sustained test against each other, its requests and its summary row.

use metrics::period::{LatenciesOver, PeriodSample, phase_of_period, summarise_periods};
use metrics::{FailureKind, PeriodRow, PhaseRow, SummaryRow, TestKey};

use super::agreement::{FailedByPhase, compare_summary};
use super::{Findings, Validation, agree};
use crate::data::RunData;
use crate::test_name::TestName;

/// Words of the `decision` column that our tools write.
const DECISIONS: [&str; 6] = [
    "STAY",
    "RAMP_UP",
    "RAMP_DOWN",
    "MIN_REACHED",
    "MAX_REACHED",
    "PLATEAU_RAMP_DOWN",
];

/// Unix seconds as f64 resolve 0.24 µs; a stamp this close to a border may lie on either side.
const BORDER_SLACK: f64 = 2e-6;

pub(super) fn check(
    data: &RunData,
    row: &SummaryRow,
    periods: &[PeriodRow],
    failed: &FailedByPhase,
    found: &mut Validation,
) {
    let test = TestName::from(row);
    let file = format!("sustained periods of {test}");
    let mut findings = Findings::of(found, &file);
    for (n, period) in (1..).zip(periods) {
        findings.expect(period.period_number == n, || {
            format!("period {} stands at place {n}", period.period_number)
        });
        check_row(period, &mut findings);
        check_requests(data, test, period, failed, &mut findings);
    }
    for pair in periods.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let n = after.period_number;
        findings.expect(
            (after.start_time - before.end_time).abs() <= BORDER_SLACK,
            || format!("period {n} does not begin where the one before ends"),
        );
        findings.expect(before.working_set_size <= after.working_set_size, || {
            format!("the working set of period {n} is smaller than before")
        });
        findings.expect(before.next_concurrency == after.concurrency_level, || {
            format!(
                "period {n} has level {}, the one before decided on {}",
                after.concurrency_level, before.next_concurrency
            )
        });
    }
    let known = |id: &str| {
        let number = id.strip_prefix("SUSTAINED_P");
        number.is_some_and(|n| periods.iter().any(|p| p.period_number.to_string() == n))
    };
    for record in data.details(test) {
        let id = &record.intent.phase_id;
        findings.expect(known(id), || {
            format!("there are requests of phase {id}, which is no period")
        });
    }
    // The tool that grows the working set looks at all requests at once.
    let latencies = if test.working_set_size.is_some() {
        LatenciesOver::Requests
    } else {
        LatenciesOver::Periods
    };
    let mut requests = latencies.tally(0);
    requests.extend(data.details(test));
    let computed = summarise_periods(
        &TestKey {
            context_size: row.context_size,
            working_set_size: row.working_set_size,
            cache_hit_rate: row.cache_hit_rate,
            model: row.model.clone(),
            peak_concurrency: 0,
        },
        PeriodSample {
            periods,
            requests: &requests,
        },
    );
    findings.expect(row.peak_concurrency == computed.peak_concurrency, || {
        format!(
            "the summary says level {}, the highest of the periods is {}",
            row.peak_concurrency, computed.peak_concurrency
        )
    });
    findings.expect(
        row.min_working_set_size == computed.min_working_set_size,
        || {
            format!(
                "the summary says that the working set began with {:?}, the first period {:?}",
                row.min_working_set_size, computed.min_working_set_size
            )
        },
    );
    compare_summary(row, &computed, &mut findings);
    check_phases(data, test, periods, failed, &mut findings);
}

/// Where periods are listed as phases too, they say the same.
fn check_phases(
    data: &RunData,
    test: TestName,
    periods: &[PeriodRow],
    failed: &FailedByPhase,
    findings: &mut Findings<'_>,
) {
    let of_test = data.period_phases.iter();
    let phases: Vec<&PhaseRow> = of_test.filter(|p| TestName::from(*p) == test).collect();
    if test.working_set_size.is_none() {
        findings.expect(phases.is_empty(), || {
            "the periods are listed as phases, which this tool does not do".to_owned()
        });
        return;
    }
    findings.expect(phases.len() == periods.len(), || {
        format!("{} periods and {} phases", periods.len(), phases.len())
    });
    for (period, phase) in periods.iter().zip(phases) {
        let count = |cancelled: bool| -> u64 {
            let kinds = failed.get(&(test, phase.phase_id.clone()));
            kinds
                .into_iter()
                .flatten()
                .filter(|(kind, _)| (**kind == FailureKind::Cancelled) == cancelled)
                .map(|(_, n)| n)
                .sum()
        };
        let expected = phase_of_period(period, test.working_set_size, (count(false), count(true)));
        findings.expect(*phase == expected, || {
            format!(
                "period {} and its phase {} disagree",
                period.period_number, phase.phase_id
            )
        });
    }
}

/// One row within itself.
fn check_row(row: &PeriodRow, findings: &mut Findings<'_>) {
    let n = row.period_number;
    for (name, rate, tokens) in [
        ("input", row.input_tokens_per_sec, row.total_input_tokens),
        ("output", row.output_tokens_per_sec, row.total_output_tokens),
    ] {
        let expected = if row.duration > 0.0 {
            tokens as f64 / row.duration
        } else {
            0.0
        };
        findings.expect(agree(rate, expected), || {
            format!("period {n}: {name}_tokens_per_sec is not tokens ÷ duration")
        });
    }
    for (name, median, p95, p99) in [
        ("ttft", row.median_ttft, row.p95_ttft, row.p99_ttft),
        ("ttlt", row.median_ttlt, row.p95_ttlt, row.p99_ttlt),
        ("itl", row.median_itl, row.p95_itl, row.p99_itl),
    ] {
        findings.expect(median <= p95 && p95 <= p99, || {
            format!("period {n}: the percentiles of {name} are not in order")
        });
    }
    let (level, next) = (row.concurrency_level, row.next_concurrency);
    let fits = match row.decision.as_str() {
        "RAMP_UP" => next > level,
        "RAMP_DOWN" | "PLATEAU_RAMP_DOWN" => next < level,
        _ => next == level,
    };
    findings.expect(fits, || {
        format!("period {n}: {} leads from {level} to {next}", row.decision)
    });
    findings.expect(DECISIONS.contains(&row.decision.as_str()), || {
        format!("period {n}: {} is no decision", row.decision)
    });
}

/// A row against the requests that were launched, and those that got their first token, in its time.
fn check_requests(
    data: &RunData,
    test: TestName,
    row: &PeriodRow,
    failed: &FailedByPhase,
    findings: &mut Findings<'_>,
) {
    let n = row.period_number;
    let id = format!("SUSTAINED_P{n}");
    let records = data.details(test);
    let completed = records.iter().filter(|r| *r.intent.phase_id == *id).count() as u64;
    let not: u64 = failed
        .get(&(test, id))
        .map_or(0, |kinds| kinds.values().sum());
    findings.expect(row.num_requests_launched == completed + not, || {
        format!(
            "period {n}: {} requests were launched and {} have rows",
            row.num_requests_launched,
            completed + not
        )
    });
    // A request that failed behind its first token counts in the period and has no row of its stamps.
    let first_tokens = |slack: f64| {
        let inside = |at: f64| at > row.start_time - slack && at <= row.end_time + slack;
        let arrived = records.iter().filter(|r| inside(r.prefill_complete_time));
        arrived.count() as u64
    };
    let certain = first_tokens(-BORDER_SLACK);
    findings.expect(certain <= row.num_requests_completed, || {
        format!(
            "period {n}: {} first tokens, the rows have {certain}",
            row.num_requests_completed
        )
    });
    let none_failed = !failed.keys().any(|(of, _)| *of == test);
    let most = first_tokens(BORDER_SLACK);
    findings.expect(!none_failed || row.num_requests_completed <= most, || {
        format!(
            "period {n}: {} first tokens, the rows have {most}",
            row.num_requests_completed
        )
    });
}
