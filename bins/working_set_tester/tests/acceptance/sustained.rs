//! What sustained mode measures while the working set grows, and the files it leaves.

use std::collections::BTreeSet;

use kvcalc::{BlockSize, TokenCount};
use sim::model::{ServiceModel, StepCosts};

use crate::scene::{SUSTAINED, periods};
use crate::support::figure::{assert_close, assert_periods_agree, assert_same, mean};
use crate::support::output::Output;
use crate::support::process::Place;
use crate::support::server;

const PERIODS: &str = "period_number context_size cache_hit_rate working_set_size start_time end_time duration \
    concurrency_level num_requests_launched num_requests_completed total_input_tokens total_output_tokens \
    input_tokens_per_sec output_tokens_per_sec avg_ttft median_ttft p95_ttft p99_ttft avg_ttlt median_ttlt p95_ttlt \
    p99_ttlt avg_itl median_itl p95_itl p99_itl avg_output_tokens_per_request measured_ttft decision \
    next_concurrency";

/// Periods follow each other without a gap; phases, summary and requests agree with them.
#[track_caller]
fn assert_whole(output: &Output, context: u64, size: u64, rate: u64) {
    let table = periods(output, context, size, rate);
    let sizes = table.numbers("working_set_size");
    assert!(sizes.is_sorted(), "{sizes:?}");
    let test = [
        ("context_size", &*context.to_string()),
        ("working_set_size", &*size.to_string()),
        ("cache_hit_rate", &*rate.to_string()),
    ];
    let summary = output.summary().matching(&test);
    let detail = output.detail(context).matching(&test);
    assert_periods_agree(&table, &summary, &detail);
    assert_same(summary.number("min_working_set_size"), sizes[0]);
    // The latencies are those of all requests of the test, and not of its periods.
    let ttft = mean(&detail.numbers("ttft"));
    assert_close(summary.number("avg_ttft"), ttft, "avg_ttft");
    // A phase for every period, by the size that names the test.
    let phases = output.phases().matching(&test);
    assert_eq!(phases.rows.len(), table.rows.len());
    assert_eq!(
        phases.distinct("phase_type"),
        ["SUSTAINED".to_owned()].into()
    );
    for column in [
        "concurrency_level",
        "start_time",
        "end_time",
        "num_requests_launched",
    ] {
        assert_eq!(phases.texts(column), table.texts(column), "{column}");
    }
}

// Example 1, tokens divided by 100: the set still grows from 2 prompts to 98 in ten steps.
#[test]
fn the_quick_start_runs_on_an_assumed_threshold_and_leaves_everything_it_promises() {
    let server = server::swift();
    let place = Place::new();
    let run = place
        .tool(
            "--tokenizer builtin --context-sizes 300 --min-working-set-size 1000 \
             --max-working-set-size 50000 --working-set-increments 10 --test-duration 6 --assessment-period 2 \
             --output-tokens 4 --max-concurrency 22",
        )
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("Mode: sustained")
        .says("✓ All tests complete!")
        .says("Total tests completed: 1");
    let assumed: Vec<&str> = run
        .warnings()
        .into_iter()
        .filter(|line| line.contains("2.0") && line.contains("--max-ttft"))
        .collect();
    assert_eq!(assumed.len(), 1, "{}", run.stderr);
    let output = place.output();
    let parameters = output.parameters();
    assert_eq!(parameters["max_ttft"], 2.0);
    assert_eq!(parameters["mode"], "sustained");
    assert_eq!(
        parameters["working_set_sizes"],
        serde_json::json!([
            1000, 6444, 11888, 17333, 22777, 28222, 33666, 39111, 44555, 50000
        ])
    );
    assert_eq!(output.completed(), ["300_50000_100"]);
    for (start, end) in [
        ("summary_", ".csv"),
        ("detailed_results_300_", ".csv"),
        ("phase_metadata_", ".csv"),
        ("sustained_periods_ctx300_ws50000_cache100_", ".csv"),
        ("run_command_", ".sh"),
    ] {
        assert_eq!(
            output.names_like(start, end).len(),
            1,
            "{:?}",
            output.names()
        );
    }
    let expected: BTreeSet<String> = [
        "performance_vs_working_set_300.html",
        "output_throughput_comparison.html",
        "input_throughput_comparison.html",
        "output_metrics_comparison.html",
        "cache_comparison_ctx300.html",
        "client_health.html",
        "index.html",
        "sustained_ctx300_ws50000_cache100.html",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(output.pages(), expected);
    assert_whole(&output, 300, 50_000, 100);
    output.assert_valid();
}

// Example 3, tokens divided by 10 and times by 6: 10 prompts that become 196 in steps of 47, 47, 46 and 46.
#[test]
fn the_set_grows_on_schedule_inside_the_periods() {
    let server = server::swift();
    let place = Place::new();
    place
        .tool(
            "--tokenizer builtin --context-sizes 1000 --min-working-set-size 10000 \
             --max-working-set-size 200000 --working-set-increments 4 --cache-hit-rates 90 --assessment-period 1 \
             --test-duration 10 --max-ttft 5.0 --max-concurrency 24 --output-tokens 4 --output-dir sustained_test",
        )
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("T=2s: Add 47 prompts")
        .says("T=4s: Add 47 prompts")
        .says("T=6s: Add 46 prompts")
        .says("T=8s: Add 46 prompts")
        .says("Working Set Growth: Added 47 new prompts (cache misses)")
        .says("Continuous mode complete: 10 periods in 10.0s")
        .says("Working set growth: 10 -> 196 prompts (+186)")
        .says("Final working set size: 200,704 tokens")
        .says("10K-200K");
    let output = Output::new(place.path().join("sustained_test"));
    let table = periods(&output, 1000, 200_000, 90);
    let columns: Vec<&str> = table.columns.iter().map(String::as_str).collect();
    let published: Vec<&str> = PERIODS.split_whitespace().collect();
    assert_eq!(columns[..30], published);
    assert_eq!(
        table.numbers("working_set_size"),
        [10., 10., 57., 57., 104., 104., 150., 150., 196., 196.].map(|prompts| prompts * 1024.0)
    );
    assert_eq!(table.texts("decision")[0], "RAMP_UP");
    assert_eq!(table.texts("concurrency_level")[..2], ["2", "22"]);
    let detail = output.detail(1000);
    assert_eq!(detail.distinct("cached_tokens"), ["768".to_owned()].into());
    assert_eq!(detail.distinct("unique_tokens"), ["232".to_owned()].into());
    assert_eq!(
        detail.distinct("working_set_size"),
        ["200000".to_owned()].into()
    );
    let ids = detail.texts("request_id");
    assert!(ids.contains(&"P1_c2_r0".to_owned()) && ids.contains(&"P2_c22_r0".to_owned()));
    // The test is judged by its periods, some of which held the threshold, and not by its mean over all sizes.
    let index = output.read("index.html");
    assert!(index.contains("Sustained Mode Performance Test"));
    assert!(index.contains("under the threshold") && !index.contains("above the threshold"));
    // Only what the test begins with is warm (example 11).
    assert_eq!(server::warm_ups(&server).len(), 10);
    assert_whole(&output, 1000, 200_000, 90);
    output.assert_valid();
}

// Example 4, with example 3's sizes divided by 10.
#[test]
fn a_threshold_that_the_lowest_level_breaks_three_times_ends_the_test() {
    let server = server::swift();
    let place = Place::new();
    let run = place
        .tool(SUSTAINED)
        .args("--max-ttft 0.001 --max-concurrency 24 --test-duration 60".split(' '))
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("Performance threshold(s) exceeded BUT already at minimum concurrency (2)")
        .says("✓ All tests complete!")
        // The size that was reached, not the one that was asked for.
        .says("       512       1K-1K    100%");
    let warned = run
        .warnings()
        .into_iter()
        .filter(|line| line.contains("3 periods in a row") && line.contains("1,024 tokens"));
    assert_eq!(warned.count(), 1, "{}", run.stderr);
    let output = place.output();
    let table = periods(&output, 512, 4096, 100);
    assert_eq!(table.texts("decision"), ["MIN_REACHED"; 3]);
    assert_eq!(table.distinct("concurrency_level"), ["2".to_owned()].into());
    assert_eq!(output.completed(), ["512_4096_100"]);
    assert_eq!(output.doubts(512, 100), ["no_level_passed"]);
    let index = output.read("index.html");
    assert!(index.contains("no test kept the threshold"));
    assert_whole(&output, 512, 4096, 100);
    output.assert_valid();
}

// The same, but nobody asked for the threshold.
#[test]
fn an_assumed_threshold_ends_no_test() {
    // Two requests take 2.4 s each to their first token, whatever the level: above the 2 s that are assumed.
    let server = server::start(server::linear(1.2, 0.001));
    let place = Place::new();
    place
        .tool(&SUSTAINED.replace("--mode sustained --max-ttft 5", ""))
        .args("--start-concurrency 2 --test-duration 15 --assessment-period 3".split(' '))
        .args([
            "--working-set-increments",
            "1",
            "--api-endpoint",
            &server.url(),
        ])
        .run()
        .exits(0)
        .says("only the smallest working set of 1,024 tokens is used")
        .says("Continuous mode complete: 5 periods in 15.0s");
    let table = periods(&place.output(), 512, 1024, 100);
    assert_eq!(table.texts("decision"), ["MIN_REACHED"; 5]);
    place.output().assert_valid();
}

#[test]
fn rates_and_contexts_give_a_test_each_and_pages_per_rate() {
    let server = server::swift();
    let place = Place::new();
    place
        .tool(SUSTAINED)
        .args("--context-sizes 512 1024 --cache-hit-rates 0 100 --test-duration 2".split(' '))
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("Total tests completed: 4");
    let output = place.output();
    assert_eq!(
        output.completed(),
        ["512_4096_0", "512_4096_100", "1024_4096_0", "1024_4096_100"]
    );
    let mut expected: BTreeSet<String> = [
        "output_throughput_comparison",
        "input_throughput_comparison",
        "output_metrics_comparison",
        "index",
    ]
    .map(|name| format!("{name}.html"))
    .into();
    for context in [512, 1024] {
        expected.insert(format!("performance_vs_working_set_{context}.html"));
        expected.insert(format!("cache_comparison_ctx{context}.html"));
        for rate in [0, 100] {
            expected.insert(format!("sustained_ctx{context}_ws4096_cache{rate}.html"));
            expected.insert(format!(
                "performance_vs_working_set_{context}_cache{rate}.html"
            ));
            assert_whole(&output, context, 4096, rate);
        }
    }
    for rate in [0, 100] {
        for name in [
            "output_throughput_comparison",
            "input_throughput_comparison",
            "output_metrics_comparison",
        ] {
            expected.insert(format!("{name}_cache{rate}.html"));
        }
    }
    expected.insert("client_health.html".to_owned());
    assert_eq!(output.pages(), expected);
    let index = output.read("index.html");
    for page in expected.iter().filter(|page| *page != "index.html") {
        assert!(index.contains(page), "the dashboard does not link {page}");
    }
    output.assert_valid();
}

// Example 12: cold prompts stay cold through all periods, and a seed repeats the set.
#[test]
fn a_seed_repeats_the_set_and_warms_nothing_that_is_meant_cold() {
    let server = server::swift();
    let run = |more: &str| {
        let before = server.generations().len();
        let place = Place::new();
        place
            .tool(SUSTAINED)
            .args("--seed 7 --max-concurrency 8".split(' '))
            .args(more.split(' '))
            .args(["--api-endpoint", &server.url()])
            .run()
            .exits(0);
        server.generations().split_off(before)
    };
    let starts = |requests: &[sim::ReceivedRequest]| -> Vec<String> {
        requests
            .iter()
            .map(|request| server::text(request).chars().take(200).collect())
            .collect()
    };
    let mut cold = run("--cache-hit-rates 0");
    cold.retain(|r| !server::request_id(r).starts_with("WARMUP_"));
    let texts = starts(&cold);
    let distinct: BTreeSet<&String> = texts.iter().collect();
    assert_eq!(distinct.len(), texts.len(), "two prompts begin alike");

    // The prompts of the set as they are sent ahead; behind each measured one stand words of its request's own.
    let set = |requests: Vec<sim::ReceivedRequest>| -> BTreeSet<String> {
        let warm_ups = requests
            .iter()
            .filter(|r| server::request_id(r).starts_with("WARMUP_"));
        warm_ups.map(|r| server::text(r).to_owned()).collect()
    };
    let first = set(run("--init-strategy max"));
    let second = set(run("--init-strategy max"));
    assert_eq!(first.len(), 8);
    assert_eq!(first, second);
}

/// A server that computes 5,000 tokens a second and remembers 6,000.
fn outgrown() -> sim::Background {
    let mut config = server::fixed(0.1);
    config.engine.service = ServiceModel::Batching(StepCosts {
        base: 0.002,
        per_decode_seq: 0.0,
        per_decode_context: 0.0,
        per_prefill_token: 2e-4,
        per_attended_pair: 0.0,
    });
    config.engine.block_size = BlockSize::try_new(16).expect("16 is not zero");
    config.engine.tiers.truncate(1);
    config.engine.tiers[0].capacity = TokenCount(6_000);
    server::start(config)
}

// A third into the test the set no longer fits, and throughput falls to a fraction. What the rule makes of its history is
// computed here again from the file.
#[test]
fn the_plateau_rule_lowers_the_load_where_throughput_falls_although_thresholds_hold() {
    let server = outgrown();
    let place = Place::new();
    let run = place
        .tool(SUSTAINED)
        .args("--max-working-set-size 15360 --working-set-increments 2 --chunk-size 128".split(' '))
        .args("--plateau-detection window --max-ttft 60 --test-duration 16".split(' '))
        .args("--max-concurrency 400 --concurrency-increment 1".split(' '))
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0);
    let table = periods(&place.output(), 512, 15_360, 100);
    let input = table.numbers("input_tokens_per_sec");
    let completed = table.numbers("num_requests_completed");
    let level = table.numbers("concurrency_level");
    let next = table.numbers("next_concurrency");
    let mut history: Vec<f64> = Vec::new();
    let mut n_declines = 0;
    for (i, decision) in table.texts("decision").iter().enumerate() {
        let decline = (history.len() >= 6).then(|| {
            let five = &history[history.len() - 6..history.len() - 1];
            let peak = five.iter().copied().fold(0.0, f64::max);
            100.0 * (peak - input[i]) / peak
        });
        let falls = decline.filter(|percent| *percent > 25.0);
        if let (Some(percent), true) = (falls, completed[i] > 0.0 && level[i] > 2.0) {
            n_declines += 1;
            assert_eq!(decision, "PLATEAU_RAMP_DOWN", "period {}", i + 1);
            let steps = match percent {
                p if p > 40.0 => 4.0,
                p if p > 30.0 => 3.0,
                _ => 2.0,
            };
            assert_same(next[i], (level[i] - steps).max(2.0));
        } else {
            assert_ne!(decision, "PLATEAU_RAMP_DOWN", "period {}", i + 1);
        }
        if completed[i] > 0.0 {
            history.push(input[i]);
        }
    }
    assert!(n_declines >= 1, "{:?}", table.rows);
    assert_eq!(run.lines("Input throughput is ").len(), n_declines);
    place.output().assert_valid();
}

// The row of a test that was given up early is a result like any other, and so are its periods.
#[test]
fn a_test_that_ended_early_is_kept_by_the_run_that_goes_on() {
    let server = server::swift();
    let place = Place::new();
    let run = |more: &str| {
        place
            .tool(SUSTAINED)
            .args("--max-ttft 0.001 --max-concurrency 24 --test-duration 60".split(' '))
            .args(["--api-endpoint", &server.url()])
            .args(more.split_whitespace())
            .run()
            .exits(0)
    };
    run("");
    let output = place.output();
    let kept = periods(&output, 512, 4096, 100).rows;
    assert_eq!(kept.len(), 3);
    let second = run("--context-sizes 512 1024")
        .says("Resuming from previous progress: 1 tests completed")
        // Both tables end with the size that was reached.
        .says("       512       1K-1K    100%")
        .says("      1024       1K-1K    100%");
    assert!(second.took < std::time::Duration::from_secs(60));
    assert_eq!(output.summary().texts("context_size"), ["512", "1024"]);
    assert_eq!(periods(&output, 512, 4096, 100).rows, kept);
    let phases = output.phases();
    assert_eq!(phases.matching(&[("context_size", "512")]).rows.len(), 3);
    assert_eq!(output.doubts(512, 100), ["no_level_passed"]);
    assert_whole(&output, 512, 4096, 100);
    assert_whole(&output, 1024, 4096, 100);
    output.assert_valid();
}
