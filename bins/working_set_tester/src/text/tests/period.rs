//! A sustained test as its reader sees it.

use std::time::Duration;

use engine::growth::GrowthPlan;
use metrics::{PeriodFigures, PeriodRow};
use ramp::{Decided, Decision, Observation, PeriodSpec, SustainedStop, Thresholds, judge};
use setup::study::GrowthStep;
use workload::GrowthSchedule;

use super::{grown, growth_planned, period_result, period_start, periods_end, texts};

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

/// The example of the user's page.
#[test]
fn the_growth_schedule_is_told_event_by_event() {
    let plan = GrowthPlan {
        schedule: GrowthSchedule::new(10, 196, 4, Duration::from_secs(600)),
        tokens_per_prompt: 10_240,
        warm: false,
        ensure_coverage: false,
    };
    assert_eq!(
        texts(&growth_planned(&plan)),
        [
            "    Working set growth schedule:",
            "      Initial: 10 prompts (102,400 tokens)",
            "      Target: 196 prompts (2,007,040 tokens)",
            "      Growth events: 4",
            "        T=120s: Add 47 prompts",
            "        T=240s: Add 47 prompts",
            "        T=360s: Add 46 prompts",
            "        T=480s: Add 46 prompts",
        ]
    );
    // What adds nothing is not told, and a long list is cut short.
    let of = |target, n_events| {
        let schedule = GrowthSchedule::new(2, target, n_events, Duration::from_secs(6000));
        growth_planned(&GrowthPlan {
            schedule,
            ..plan.clone()
        })
    };
    let few = of(4, 99);
    assert_eq!(
        texts(&few)[3..],
        [
            "      Growth events: 2",
            "        T=60s: Add 1 prompt",
            "        T=120s: Add 1 prompt",
        ]
    );
    let many = of(101, 99);
    assert_eq!(many.len(), 4 + 20);
    assert_eq!(many[23].text, "        … 80 more until T=5940s: 80 prompts");
}

#[test]
fn growth_says_whether_what_joins_is_warm() {
    let mut step = GrowthStep {
        added: 5,
        warm: false,
        n_prompts: 7,
        target: 20,
        tokens: 3584,
    };
    assert_eq!(
        texts(&grown(step)),
        [
            "    Working Set Growth: Added 5 new prompts (cache misses)",
            "      Now: 7 of 20 prompts (3,584 tokens)",
        ]
    );
    (step.added, step.warm) = (1, true);
    assert_eq!(
        grown(step)[0].text,
        "    Working Set Growth: Activated 1 pre-warmed prompt"
    );
}

#[test]
fn a_period_says_what_follows_and_what_arrived() {
    let spec = PeriodSpec {
        number: 3,
        concurrency: 22,
        length: Duration::from_secs(5),
    };
    assert_eq!(
        period_start(&spec).text,
        "  Period 3: Running at concurrency 22 for 5.0s"
    );
    let figures = PeriodFigures {
        waiting: 2,
        failed: 3,
        ..PeriodFigures::default()
    };
    let row = PeriodRow {
        num_requests_completed: 37,
        num_requests_launched: 39,
        input_tokens_per_sec: 7_400.4,
        output_tokens_per_sec: 118.6,
        avg_ttft: Some(2.0991),
        p95_ttft: Some(2.2071),
        avg_itl: Some(0.03136),
        avg_output_tokens_per_request: Some(31.83),
        ..PeriodRow::default()
    };
    let down = decided(Decision::RampDown, 22, 18, Some(2.2071));
    assert_eq!(
        texts(&period_result(&row, &figures, &down)),
        [
            "    Performance threshold(s) exceeded -> RAMP DOWN: 22 -> 18 (-4)",
            "      - TTFT 2.207s is above 1s",
            "    Completed: 37, Launched: 39",
            "    Input: 7,400 tok/s | Output: 119 tok/s",
            "    Avg TTFT: 2.099s | P95 TTFT: 2.207s | P99 TTFT: n/a",
            "    Avg ITL: 31.36ms | Avg Tokens/Req: 31.8 tok/s",
            "    2 requests have waited longer than the TTFT threshold for their first token",
            "    3 requests failed",
        ]
    );
}

#[test]
fn every_decision_has_its_line() {
    use Decision::{MaxReached, MinReached, PlateauRampDown, RampDown, RampUp};
    for (decision, (level, next), ttft, expected) in [
        (
            RampUp,
            (2, 22),
            Some(0.2),
            &["    Performance thresholds OK (headroom: 80.0%) -> RAMP UP: 2 -> 22 (+20)"][..],
        ),
        (
            MaxReached,
            (22, 22),
            Some(0.2),
            &[
                "    Performance thresholds OK (headroom: 80.0%) BUT already at max concurrency (22)",
            ],
        ),
        (
            MinReached,
            (2, 2),
            Some(1.5),
            &[
                "    Performance threshold(s) exceeded BUT already at minimum concurrency (2)",
                "      - TTFT 1.500s is above 1s",
            ],
        ),
        (
            PlateauRampDown,
            (22, 16),
            Some(0.2),
            &[
                "    Input throughput is 31.2% below its recent best -> PLATEAU RAMP DOWN: 22 -> 16 (-6)",
            ],
        ),
        (
            MinReached,
            (2, 2),
            Some(0.2),
            &[
                "    Performance threshold(s) exceeded BUT already at minimum concurrency (2)",
                "      - input throughput is 31.2% below its recent best",
            ],
        ),
        (
            RampDown,
            (22, 18),
            None,
            &[
                "    Performance threshold(s) exceeded -> RAMP DOWN: 22 -> 18 (-4)",
                "      - nothing completed in the period",
            ],
        ),
    ] {
        let lines = period_result(
            &PeriodRow::default(),
            &PeriodFigures::default(),
            &decided(decision, level, next, ttft),
        );
        assert_eq!(&texts(&lines)[..expected.len()], expected, "{decision}");
    }
}

fn period(number: u64, tokens: u64, input_tps: f64) -> PeriodRow {
    PeriodRow {
        period_number: number,
        context_size: 500,
        working_set_size: Some(tokens),
        duration: 6.0,
        concurrency_level: 4,
        num_requests_completed: 600,
        input_tokens_per_sec: input_tps,
        ..PeriodRow::default()
    }
}

#[test]
fn the_end_tells_how_far_the_set_grew() {
    let periods = [
        period(1, 1024, 900.0),
        period(2, 3584, 2200.0),
        period(3, 10_240, 400.0),
    ];
    let common = [
        "    Continuous mode complete: 3 periods in 18.0s",
        "      Total requests: 1,800",
        "      Peak throughput: 2,200 tok/s (period 2, concurrency 4)",
        "      Working set growth: 2 -> 20 prompts (+18)",
        "      Final working set size: 10,240 tokens",
    ];
    assert_eq!(
        texts(&periods_end(&SustainedStop::TimeUp, &periods, 256)),
        common
    );
    let left = Duration::from_millis(1200);
    let short = SustainedStop::TooShort { number: 4, left };
    assert_eq!(
        periods_end(&short, &periods, 256)[0].text,
        "  Period 4: Skipping (only 1.2s remaining)"
    );
    let hopeless = periods_end(&SustainedStop::Hopeless { n: 3 }, &periods, 256);
    assert_eq!(
        hopeless[0].text,
        "The lowest level broke a threshold in 3 periods in a row with a working set of 10,240 tokens; the test ends early"
    );
    assert_eq!(texts(&hopeless)[1..], common);
}
