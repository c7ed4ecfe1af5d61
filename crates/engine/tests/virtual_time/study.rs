//! Whole studies over working sets: which prompts are sent ahead, what tests take over from each other, what a run
//! that ends early leaves.

use std::collections::{BTreeMap, HashSet};

use engine::study::{Mode, Reinit, StudyPlan, WorkingSets};
use engine::transport::Kind;
use metrics::health::PartOf;
use ramp::{
    FixedRules, FixedSettings, RampRules, RampSettings, SustainedRules, SustainedSettings,
    Thresholds,
};

use crate::S;
use crate::bench::{Sent, Studied, study, study_until};

/// Tokens of a context, which is one prompt.
const CONTEXT: u64 = 256;

const NONE: Thresholds = Thresholds {
    max_ttft: None,
    min_speed: None,
};

fn fixed_levels(levels: &[u32], num_retries: u32) -> Mode {
    Mode::Fixed(FixedSettings {
        levels: levels.to_vec(),
        ramp_duration: S(3),
        num_retries,
        thresholds: NONE,
        rules: FixedRules::WORKING_SET,
    })
}

fn sustained() -> Mode {
    Mode::Sustained(SustainedSettings {
        start: 2,
        increment: 2,
        max: 4,
        test_duration: S(20),
        period: S(5),
        thresholds: Thresholds {
            max_ttft: Some(5.0),
            min_speed: None,
        },
        rules: SustainedRules::WORKING_SET,
    })
}

fn sizes(prompts: &[u64]) -> WorkingSets {
    WorkingSets::Each(prompts.iter().map(|n| n * CONTEXT).collect())
}

fn growing(warm_all: bool) -> WorkingSets {
    WorkingSets::Growing {
        first: 4 * CONTEXT,
        last: 12 * CONTEXT,
        n_events: 3,
        warm_all,
    }
}

/// Prompts of each run of warm-up requests without a measured one between them.
fn warm_ups(log: &[Sent]) -> Vec<Vec<usize>> {
    log.chunk_by(|a, b| a.kind == b.kind)
        .filter(|requests| requests[0].kind == Kind::WarmUp)
        .map(|requests| requests.iter().filter_map(|r| r.prompt).collect())
        .collect()
}

fn first(n: usize) -> Vec<usize> {
    (0..n).collect()
}

async fn run(working_sets: WorkingSets, reinit: Reinit, mode: Mode, rates: &[u32]) -> Studied {
    study(CONTEXT, rates, |plan| {
        plan.working_sets = working_sets;
        plan.reinit = reinit;
        plan.mode = mode;
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn each_strategy_sends_ahead_what_it_says() {
    // Two sizes at two rates; each test is one level run twice.
    let mode = || fixed_levels(&[2], 1);
    let once = run(sizes(&[3, 5]), Reinit::Once, mode(), &[50, 100]).await;
    // The second size adds two prompts to the first; the second rate finds all of them warm.
    assert_eq!(warm_ups(&once.log), [first(3), vec![3, 4]]);
    let each_test = run(sizes(&[3, 5]), Reinit::EachTest, mode(), &[50, 100]).await;
    assert_eq!(
        warm_ups(&each_test.log),
        [first(3), first(5), first(3), first(5)]
    );
    let each_window = run(sizes(&[3, 5]), Reinit::EachWindow, mode(), &[100]).await;
    assert_eq!(
        warm_ups(&each_window.log),
        [first(3), first(3), first(5), first(5)]
    );
    for studied in [once, each_test, each_window] {
        assert!(studied.end.failed.is_empty(), "{:?}", studied.end.failed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_growing_set_is_warmed_for_its_start_or_as_a_whole() {
    for (warm_all, reinit, expected) in [
        (false, Reinit::EachTest, vec![first(4), first(4)]),
        (true, Reinit::EachTest, vec![first(12), first(12)]),
        // Without windows between which it could be sent: once per test.
        (false, Reinit::EachWindow, vec![first(4), first(4)]),
        (false, Reinit::Once, vec![first(4)]),
        (true, Reinit::Once, vec![first(12)]),
    ] {
        let studied = run(growing(warm_all), reinit, sustained(), &[50, 100]).await;
        assert_eq!(warm_ups(&studied.log), expected, "{warm_all} {reinit:?}");
        assert_eq!(studied.end.completed.len(), 2);
        for summary in &studied.summary {
            assert_eq!(summary.working_set_size, Some(12 * CONTEXT));
            assert_eq!(summary.min_working_set_size, Some(4 * CONTEXT));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_test_of_a_size_uses_its_own_prompts_and_no_others() {
    let studied = run(
        sizes(&[2, 6]),
        Reinit::EachTest,
        fixed_levels(&[2, 4], 0),
        &[100],
    )
    .await;
    let measured = |sent: &&Sent| sent.kind == Kind::Measured;
    let used: Vec<HashSet<usize>> = studied
        .log
        .chunk_by(|a, b| a.kind == b.kind)
        .filter(|requests| requests.first().as_ref().is_some_and(measured))
        .map(|requests| requests.iter().filter_map(|r| r.prompt).collect())
        .collect();
    assert_eq!(used.len(), 2);
    assert_eq!(used[0], HashSet::from([0, 1]));
    assert_eq!(used[1], (0..6).collect());
    assert_eq!(
        studied
            .end
            .completed
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["256_512_100", "256_1536_100"]
    );
}

#[tokio::test(start_paused = true)]
async fn no_two_requests_of_different_sizes_share_fresh_text() {
    let studied = run(
        sizes(&[2, 4, 6]),
        Reinit::EachTest,
        fixed_levels(&[2], 1),
        &[0],
    )
    .await;
    let mut seen = HashSet::new();
    for sent in studied.log.iter().filter(|s| s.kind == Kind::Measured) {
        let start: String = sent.text.chars().take(200).collect();
        assert!(seen.insert(start), "two requests begin alike");
    }
    assert!(seen.len() > 20);
}

#[tokio::test(start_paused = true)]
async fn the_peak_of_a_size_is_where_the_next_one_starts_and_a_rate_starts_anew() {
    let mode = Mode::Ramp(RampSettings {
        start: 2,
        increment: 2,
        max: 8,
        test_duration: S(30),
        ramp_duration: S(2),
        num_retries: 0,
        thresholds: Thresholds {
            max_ttft: Some(60.0),
            min_speed: None,
        },
        rules: RampRules::WORKING_SET,
    });
    let studied = run(sizes(&[2, 4]), Reinit::EachTest, mode, &[50, 100]).await;
    let mut levels: BTreeMap<(u32, u64), Vec<String>> = BTreeMap::new();
    for phase in &studied.phases {
        let test = (phase.cache_hit_rate, phase.working_set_size.unwrap());
        levels.entry(test).or_default().push(phase.phase_id.clone());
    }
    for rate in [50, 100] {
        assert_eq!(levels[&(rate, 512)], ["RAMP_c2", "RAMP_c8"]);
        assert_eq!(levels[&(rate, 1024)], ["RAMP_c8"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_stopped_keeps_the_windows_of_the_test_it_was_in() {
    // At the second of four levels.
    let change = |plan: &mut StudyPlan| {
        plan.working_sets = sizes(&[2, 4]);
        plan.mode = fixed_levels(&[2, 4, 6, 8], 0);
    };
    let studied = study_until(CONTEXT, &[100], change, "FIXED_c4_run0").await;
    assert!(studied.end.stopped.is_some());
    assert!(studied.end.completed.is_empty());
    let ids: Vec<&str> = studied.phases.iter().map(|p| p.phase_id.as_str()).collect();
    assert_eq!(ids, ["FIXED_c2_run0", "FIXED_c4_run0"]);
    assert!(studied.summary.is_empty());
    // What the client knows of its part in them is kept, too.
    let health = studied.end.health.iter();
    let parts: Vec<_> = health.map(|h| (h.phase_id.as_str(), h.part_of)).collect();
    assert_eq!(
        parts,
        [
            ("FIXED_c2_run0", PartOf::Level),
            ("FIXED_c4_run0", PartOf::Nothing)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn coverage_reaches_every_window_of_every_size() {
    let studied = study(CONTEXT, &[100], |plan| {
        plan.working_sets = sizes(&[4, 40]);
        plan.mode = fixed_levels(&[2], 1);
        plan.ensure_coverage = true;
    })
    .await;
    for phase in &studied.phases {
        let wanted = phase.working_set_size.unwrap() / CONTEXT;
        assert!(
            phase.num_requests_launched >= wanted,
            "{} of {wanted}",
            phase.num_requests_launched
        );
    }
    assert_eq!(studied.phases.len(), 4);
}

/// Re-encoding runs beside the warm-up, on threads of its own; whatever is measured begins when it is over.
#[tokio::test(start_paused = true)]
async fn no_measured_request_goes_out_before_every_prompt_was_verified() {
    for reinit in [Reinit::Once, Reinit::EachTest, Reinit::EachWindow] {
        let studied = study(CONTEXT, &[0, 50, 100], |plan| {
            plan.context_sizes = vec![CONTEXT, 2 * CONTEXT];
            plan.working_sets = WorkingSets::One(16 * CONTEXT);
            plan.reinit = reinit;
            plan.mode = fixed_levels(&[2], 0);
        })
        .await;
        assert_eq!(studied.end.completed.len(), 6);
        let n_prompts = studied.end.working_set_prompts.values();
        assert!(
            studied.verified.iter().map(|(n, _)| n).eq(n_prompts),
            "{:?}",
            studied.verified
        );
        let (first, second) = (studied.verified[0].1, studied.verified[1].1);
        let length = studied.log[0].text.len();
        let is_of_second = |sent: &&Sent| sent.text.len() > length * 3 / 2;
        let measured = |sent: &&Sent| sent.kind == Kind::Measured;
        assert_eq!(studied.log[..first].iter().filter(measured).count(), 0);
        assert!(
            studied.log[first..second]
                .iter()
                .any(|sent| measured(&sent))
        );
        let early = studied.log[..second].iter().filter(is_of_second);
        assert_eq!(early.filter(measured).count(), 0, "{reinit:?}");
        let late = studied.log[second..].iter().filter(is_of_second);
        assert!(late.filter(measured).count() > 0, "{reinit:?}");
    }
}
