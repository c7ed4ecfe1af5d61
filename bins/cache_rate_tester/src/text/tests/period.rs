//! A sustained test as its reader sees it.

use std::time::Duration;

use metrics::{PeriodFigures, PeriodRow};
use ramp::{Decided, Decision, Observation, PeriodSpec, SustainedStop, Thresholds, judge};

use super::{period_result, period_start, periods_end, texts};

const THRESHOLDS: Thresholds = Thresholds {
    max_ttft: Some(1.0),
    min_speed: None,
};

fn decided(decision: Decision, level: u32, next: u32, ttft: Option<f64>) -> Decided {
    let observation = Observation {
        input_tps: 0.0,
        ttft,
        speed: None,
        valid: true,
    };
    Decided {
        decision,
        level,
        next,
        verdict: judge(&THRESHOLDS, &observation),
        decline: Some(31.25),
    }
}

#[test]
fn a_period_says_what_arrived_and_what_follows() {
    let spec = PeriodSpec {
        number: 3,
        concurrency: 22,
        length: Duration::from_secs(5),
    };
    assert_eq!(
        period_start(&spec).text,
        "Period 3: Running at concurrency 22 for 5.0s"
    );
    let figures = PeriodFigures {
        prefills: 37,
        contributing: 40,
        launched: 39,
        waiting: 2,
        ..PeriodFigures::default()
    };
    let row = PeriodRow {
        input_tokens_per_sec: 7_400.4,
        output_tokens_per_sec: 118.6,
        avg_ttft: Some(2.0991),
        p95_ttft: Some(2.2071),
        avg_itl: Some(0.03136),
        avg_output_tokens_per_request: Some(31.83),
        ..PeriodRow::default()
    };
    let down = decided(Decision::RampDown, 22, 20, Some(2.2071));
    assert_eq!(
        texts(&period_result(&row, &figures, &down, &THRESHOLDS)),
        [
            "  Prefills: 37, Contributing: 40, Launched: 39",
            "  Input: 7,400 tok/s | Output: 119 tok/s (streaming-based)",
            "  Avg TTFT: 2.099s | P95 TTFT: 2.207s | P99 TTFT: n/a",
            "  Avg ITL: 31.36ms | P95 ITL: n/a | Avg Tokens/Req: 31.8 tok/s",
            "  2 requests have waited longer than the TTFT threshold for their first token",
            "  RAMP DOWN: 22 → 20, TTFT 2.207s is above 1s",
        ]
    );
}

#[test]
fn every_decision_has_its_line() {
    let line = |decided: &Decided| {
        let lines = period_result(
            &PeriodRow::default(),
            &PeriodFigures::default(),
            decided,
            &THRESHOLDS,
        );
        lines.last().unwrap().text.clone()
    };
    use Decision::{MaxReached, MinReached, PlateauRampDown, RampUp, Stay};
    for (decision, level, next, ttft, expected) in [
        (
            RampUp,
            2,
            22,
            Some(0.2),
            "  RAMP UP: 2 → 22 (+20), headroom 80.0%",
        ),
        (
            MaxReached,
            22,
            22,
            Some(0.2),
            "  MAX REACHED: staying at 22, headroom 80.0%",
        ),
        (
            PlateauRampDown,
            22,
            16,
            Some(0.2),
            "  PLATEAU RAMP DOWN: 22 → 16, input throughput is 31.2% below its recent peak",
        ),
        (
            MinReached,
            2,
            2,
            Some(1.5),
            "  MIN REACHED: staying at 2, the lowest level, TTFT 1.500s is above 1s",
        ),
        (
            MinReached,
            2,
            2,
            Some(0.2),
            "  MIN REACHED: staying at 2, the lowest level, input throughput is 31.2% below its recent peak",
        ),
        (
            Stay,
            2,
            2,
            None,
            "  STAY: 2, nothing arrived that the thresholds could be held against",
        ),
    ] {
        assert_eq!(line(&decided(decision, level, next, ttft)), expected);
    }
}

#[test]
fn the_end_counts_measured_periods_only() {
    let period = |n: u64, input: f64| PeriodRow {
        period_number: n,
        duration: 5.0,
        concurrency_level: 2 * n as u32,
        num_requests_completed: 1_000,
        input_tokens_per_sec: input,
        ..PeriodRow::default()
    };
    let periods = [period(1, 100.0), period(2, 300.4), period(3, 200.0)];
    let stop = SustainedStop::TooShort {
        number: 4,
        left: Duration::from_secs(1),
    };
    assert_eq!(
        texts(&periods_end(&stop, &periods)),
        [
            "Period 4: Skipping (only 1.0s remaining)",
            "Continuous mode complete: 3 periods in 15.0s",
            "  Total requests: 3,000",
            "  Peak input throughput: 300 tok/s (period 2, concurrency 4)",
        ]
    );
    let hopeless = periods_end(&SustainedStop::Hopeless { n: 3 }, &periods);
    assert!(hopeless[0].text.contains("3 periods in a row"));
    assert_eq!(periods_end(&SustainedStop::TimeUp, &[]).len(), 2);
}
