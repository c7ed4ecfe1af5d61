//! Tokens over periods: nothing is lost, nothing counts twice, each chunk counts where it arrived.

use std::time::Duration;

use metrics::attribution::{Ending, PeriodFigures, TokenAttribution};
use metrics::spread::spread_tokens;
use metrics::timeline::{ChunkStamp, Launch, Timeline};
use proptest::prelude::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn timeline(launched: u64, chunks: &[u64], finished: u64) -> Timeline {
    Timeline {
        intended: MS(launched),
        launched: MS(launched),
        chunks: chunks.iter().map(|at| chunk(*at)).collect(),
        finished: MS(finished),
        ..Timeline::default()
    }
}

fn chunk(at: u64) -> ChunkStamp {
    ChunkStamp {
        at: MS(at),
        text_bytes: 4,
    }
}

/// At this instant, and not late.
fn went_out(at: u64) -> Option<Launch> {
    Some(Launch {
        at: MS(at),
        delay: Duration::ZERO,
    })
}

#[track_caller]
fn assert_near(found: Option<f64>, expected: f64) {
    assert!(
        found.is_some_and(|v| (v - expected).abs() < 1e-9),
        "{found:?}, expected {expected}"
    );
}

fn close(attribution: &mut TokenAttribution, end: u64) -> PeriodFigures {
    attribution.close(MS(end), Some(MS(500)))
}

/// Periods had the latency from the actual send alone.
#[test]
fn the_delay_of_the_client_is_in_the_latency_from_the_intended_instant() {
    let mut attribution = TokenAttribution::new();
    attribution.launch(0, 10, MS(100));
    attribution.launch(1, 10, MS(100));
    let late = |delay| Launch {
        at: MS(120),
        delay: MS(delay),
    };
    attribution.observe(0, Some(late(40)), [chunk(620)]);
    let ended = Timeline {
        intended: MS(50),
        dial: MS(10),
        ..timeline(120, &[320], 400)
    };
    assert_eq!(ended.launch(), late(60));
    attribution.end(1, &ended, Some(1), Ending::Completed);
    let figures = close(&mut attribution, 1000);
    assert_near(figures.ttft.avg, (0.5 + 0.2) / 2.0);
    assert_near(figures.ttft_from_intended.avg, (0.54 + 0.26) / 2.0);
    // It counts once.
    attribution.observe(0, Some(late(40)), [chunk(1200)]);
    assert_eq!(close(&mut attribution, 2000).ttft_from_intended.avg, None);
}

#[test]
fn a_request_over_three_periods_counts_in_each_with_what_arrived_there() {
    let mut attribution = TokenAttribution::new();
    attribution.launch(0, 1000, MS(100));
    let first = close(&mut attribution, 1000);
    assert_eq!(
        (first.launched, first.prefills, first.input_tokens),
        (1, 0, 0)
    );
    assert_eq!((first.waiting, first.ttft.avg), (1, None));
    assert_near(first.ttft_with_waits.max, 0.9);
    assert!(!first.has_tokens());

    attribution.observe(0, went_out(110), [chunk(1200), chunk(1600), chunk(2000)]);
    let second = close(&mut attribution, 2000);
    assert_eq!(
        (second.launched, second.prefills, second.input_tokens),
        (0, 1, 1000)
    );
    assert_eq!(
        (second.output_tokens, second.contributing, second.completed),
        (3, 1, 0)
    );
    assert_near(second.ttft.avg, 1.09);
    // Up to the last token so far.
    assert_near(second.ttlt.avg, 1.89);
    assert_near(second.itl.avg, 0.4);
    assert_near(second.speed.avg, 3.0 / 0.8);

    let whole = timeline(110, &[1200, 1600, 2000, 2400, 2800], 2900);
    attribution.end(0, &whole, Some(10), Ending::Completed);
    let third = close(&mut attribution, 3000);
    assert_eq!(
        (third.prefills, third.completed, third.input_tokens),
        (0, 1, 0)
    );
    assert_eq!(
        third.output_tokens, 4,
        "two chunks of five hold four tokens of ten"
    );
    assert_near(third.ttlt.avg, 2.69);
    assert_near(third.speed.avg, 10.0 / 1.7);

    // The second period is corrected: its three chunks hold six tokens.
    let settled = attribution.finish();
    assert_eq!(settled.output_tokens, [0, 6, 4]);
    assert_eq!(
        (settled.tail_output_tokens, settled.tail_input_tokens),
        (0, 0)
    );
}

#[test]
fn running_requests_count_by_the_ratio_of_ended_ones() {
    let mut attribution = TokenAttribution::new();
    attribution.launch(0, 1, MS(0));
    attribution.launch(1, 1, MS(0));
    attribution.end(
        0,
        &timeline(0, &[100, 200], 210),
        Some(6),
        Ending::Completed,
    );
    attribution.observe(1, went_out(0), [chunk(300), chunk(400), chunk(500)]);
    // Six tokens of the ended one, three chunks of three tokens each of the other.
    assert_eq!(close(&mut attribution, 1000).output_tokens, 6 + 9);
    attribution.end(
        1,
        &timeline(0, &[300, 400, 500], 1100),
        Some(7),
        Ending::Completed,
    );
    assert_eq!(close(&mut attribution, 2000).output_tokens, 0);
    assert_eq!(attribution.finish().output_tokens, [13, 0]);
}

#[test]
fn arrivals_at_a_border_belong_to_the_period_that_ends_there() {
    let mut attribution = TokenAttribution::new();
    attribution.launch(0, 5, MS(0));
    attribution.observe(0, went_out(0), [chunk(1000), chunk(1001)]);
    assert_eq!(close(&mut attribution, 1000).output_tokens, 1);
    // Known only after its period was closed: it counts in the next one, and only there.
    attribution.launch(1, 7, MS(0));
    attribution.observe(1, went_out(0), [chunk(1000)]);
    let next = close(&mut attribution, 2000);
    assert_eq!(
        (next.output_tokens, next.input_tokens, next.prefills),
        (2, 7, 1)
    );
}

#[test]
fn failed_requests_count_with_what_arrived_but_not_with_their_latencies() {
    let mut attribution = TokenAttribution::new();
    attribution.launch(0, 1000, MS(0));
    attribution.launch(1, 1000, MS(0));
    attribution.end(0, &timeline(0, &[100, 200, 300], 350), None, Ending::Failed);
    attribution.end(1, &timeline(0, &[], 400), None, Ending::Failed);
    let figures = close(&mut attribution, 1000);
    assert_eq!(
        (figures.failed, figures.completed, figures.prefills),
        (2, 0, 1)
    );
    assert_eq!((figures.input_tokens, figures.output_tokens), (1000, 3));
    assert_eq!(
        (
            figures.speed.n,
            figures.itl.n,
            figures.ttft.n,
            figures.waiting
        ),
        (0, 0, 1, 0)
    );
}

#[test]
fn tokens_that_the_server_did_not_count_are_settled_by_our_own_count() {
    let mut attribution = TokenAttribution::new();
    attribution.launch(3, 10, MS(0));
    attribution.observe(3, went_out(0), [chunk(500)]);
    assert_eq!(close(&mut attribution, 1000).output_tokens, 1);
    attribution.end(3, &timeline(0, &[500, 1500], 1600), None, Ending::Completed);
    assert_eq!(close(&mut attribution, 2000).output_tokens, 1);
    attribution.count(3, 9);
    let settled = attribution.finish();
    let parts = spread_tokens(9, &[4, 4]);
    assert_eq!(settled.output_tokens, parts);
}

#[test]
fn what_went_out_before_and_still_runs_is_known() {
    let mut attribution = TokenAttribution::new();
    assert_eq!(attribution.last_arrival(), None);
    attribution.launch(0, 1, MS(10));
    assert!(
        attribution.has_open_since_before(MS(11)) && !attribution.has_open_since_before(MS(10))
    );
    attribution.end(0, &timeline(10, &[20], 30), Some(1), Ending::Completed);
    assert!(!attribution.has_open_since_before(MS(99)));
    assert_eq!(attribution.last_arrival(), Some(MS(20)));
}

/// One request of the property test: times in ms.
#[derive(Debug, Clone)]
struct Plan {
    launched: u64,
    chunks: Vec<(u64, u32)>,
    finished: u64,
    tokens: u64,
    /// The server counts.
    counted: bool,
    how: Ending,
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let gaps = proptest::collection::vec((0_u64..900, 0_u32..20), 0..12);
    let how = prop_oneof![
        4 => Just(Ending::Completed),
        1 => Just(Ending::Failed),
        1 => Just(Ending::Cancelled),
    ];
    (0_u64..5000, gaps, 0_u64..500, 0_u64..60, any::<bool>(), how).prop_map(
        |(launched, gaps, rest, tokens, counted, how)| {
            let mut at = launched;
            let chunks: Vec<(u64, u32)> = gaps
                .into_iter()
                .map(|(gap, bytes)| {
                    at += gap;
                    (at, bytes)
                })
                .collect();
            Plan {
                launched,
                chunks,
                finished: at + rest,
                tokens,
                counted,
                how,
            }
        },
    )
}

impl Plan {
    fn timeline(&self) -> Timeline {
        Timeline {
            intended: MS(self.launched),
            launched: MS(self.launched),
            chunks: self.stamps(0, u64::MAX),
            finished: MS(self.finished),
            ..Timeline::default()
        }
    }

    fn stamps(&self, after: u64, until: u64) -> Vec<ChunkStamp> {
        let inside = self
            .chunks
            .iter()
            .filter(|(at, _)| *at >= after && *at < until);
        inside
            .map(|(at, text_bytes)| ChunkStamp {
                at: MS(*at),
                text_bytes: *text_bytes,
            })
            .collect()
    }
}

/// What requests come to over periods of these lengths, looked at so late. Where `announced`, every border is told when
/// its period begins. What the server did not count is counted at the border behind its end, or behind all periods.
fn over_periods(
    plans: &[Plan],
    lengths: &[u64],
    late: u64,
    announced: bool,
) -> (Vec<PeriodFigures>, metrics::attribution::Settled) {
    let mut attribution = TokenAttribution::new();
    let (mut border, mut seen_until) = (0, 0);
    let mut launched = vec![false; plans.len()];
    let mut ended = vec![false; plans.len()];
    let mut figures = Vec::new();
    let mut play = |attribution: &mut TokenAttribution, from: u64, until: u64| {
        for (i, plan) in plans.iter().enumerate() {
            let number = i as u64;
            if plan.launched < until && !std::mem::replace(&mut launched[i], true) {
                attribution.launch(number, 100 + number, MS(plan.launched));
            } else if plan.launched >= until {
                continue;
            }
            if plan.finished < until {
                if !std::mem::replace(&mut ended[i], true) {
                    let tokens = plan.counted.then_some(plan.tokens);
                    attribution.end(number, &plan.timeline(), tokens, plan.how);
                } else if !plan.counted && plan.tokens % 2 == 0 {
                    attribution.count(number, plan.tokens);
                }
            } else {
                attribution.observe(number, went_out(plan.launched), plan.stamps(from, until));
            }
        }
    };
    for length in lengths {
        border += length;
        if announced {
            attribution.expect_border(MS(border));
        }
        let now = border + 1 + late;
        play(&mut attribution, seen_until, now);
        seen_until = now;
        figures.push(attribution.close(MS(border), Some(MS(700))));
    }
    if announced {
        attribution.expect_border(Duration::MAX);
    }
    play(&mut attribution, seen_until, u64::MAX);
    for (i, plan) in plans.iter().enumerate().filter(|(_, p)| !p.counted) {
        attribution.count(i as u64, plan.tokens);
    }
    (figures, attribution.finish())
}

proptest! {
    // Whether requests are settled when they end or all together at the border changes no figure of any period.
    #[test]
    fn a_border_that_is_known_before_changes_nothing(
        plans in proptest::collection::vec(any_plan(), 0..12),
        lengths in proptest::collection::vec(1_u64..2500, 1..8),
        late in 0_u64..900,
    ) {
        let told = |announced| over_periods(&plans, &lengths, late, announced);
        prop_assert_eq!(told(true), told(false));
    }

    // Whatever requests overlap whatever borders, and however late a border is looked at: settled output tokens
    // of all periods and the tail sum to those of all requests with output, input tokens likewise, and where
    // tokens are known each period holds exactly those of the chunks that arrived in it.
    #[test]
    fn periods_and_tail_sum_to_the_total(
        plans in proptest::collection::vec(any_plan(), 0..12),
        lengths in proptest::collection::vec(1_u64..2500, 1..8),
        late in 0_u64..40,
        announced: bool,
    ) {
        let (figures, settled) = over_periods(&plans, &lengths, late, announced);
        let input: u64 = figures.iter().map(|f| f.input_tokens).sum();
        let borders: Vec<u64> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        prop_assert_eq!(settled.output_tokens.len(), borders.len());

        let with_output = || plans.iter().enumerate().filter(|(_, p)| !p.chunks.is_empty());
        let total_input: u64 = with_output().map(|(i, _)| 100 + i as u64).sum();
        prop_assert_eq!(input + settled.tail_input_tokens, total_input);

        let is_known = |p: &Plan| p.counted || p.how == Ending::Completed;
        if plans.iter().all(is_known) {
            let total: u64 = with_output().map(|(_, p)| p.tokens).sum();
            let sum = settled.output_tokens.iter().sum::<u64>() + settled.tail_output_tokens;
            prop_assert_eq!(sum, total);
            let mut start = None;
            for (i, end) in borders.iter().enumerate() {
                let mut truth = 0;
                for plan in &plans {
                    let weights: Vec<u32> = plan.chunks.iter().map(|c| c.1).collect();
                    let parts = spread_tokens(plan.tokens, &weights);
                    let inside = plan.chunks.iter().zip(parts).filter(|((at, _), _)| start.is_none_or(|s| *at > s) && at <= end);
                    truth += inside.map(|(_, n)| n).sum::<u64>();
                }
                prop_assert_eq!(settled.output_tokens[i], truth, "period {}", i);
                start = Some(*end);
            }
        }
    }
}
