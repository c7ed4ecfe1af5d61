//! What the tool says about servers whose cache is known.

use std::time::Duration;

use kvcalc::{BlockSize, TokenCount};
use serde_json::Value;
use sim::fault::FaultPlan;
use sim::model::ServiceModel;
use sim::{Background, SimConfig, UsageForm};

use crate::tool::{Finished, Place};

/// Three sizes of blocks of 16 tokens: long enough to be told from noise, short enough for a test.
const RUN: &str = "--context-sizes 500 2000 --num-iterations 3";

fn start(config: SimConfig) -> Background {
    Background::start(config).unwrap()
}

fn run(server: &Background, more: &str) -> (Place, Finished) {
    let place = Place::new();
    let run = place
        .quick(&server.url(), &format!("{RUN} {more}"))
        .exits(0);
    (place, run)
}

fn verdict(place: &Place, topic: &str) -> Value {
    place.json("metadata.json")["verdicts"][topic].clone()
}

#[test]
fn a_server_that_caches_is_told_so_with_share_and_interval() {
    let server = start(SimConfig::demo());
    let (place, run) = run(&server, "");
    let caching = verdict(&place, "caching");
    assert_eq!(caching["verdict"], "works");
    let rows = place.rows();
    let (mut cached, mut prompt) = (0.0, 0.0);
    for (i, kind) in rows.texts("prompt_type").iter().enumerate() {
        let reported = rows.numbers("reported_cached_tokens")[i];
        if *kind == "cached" {
            cached += reported;
            prompt += rows.numbers("prompt_tokens")[i];
        } else {
            assert_eq!(reported, 0.0);
        }
    }
    assert_eq!(caching["reported_share"].as_f64(), Some(cached / prompt));
    assert!(cached / prompt > 0.95, "{caching}");
    let (low, speedup, high) = (
        &caching["speedup_low"],
        &caching["speedup"],
        &caching["speedup_high"],
    );
    assert!(
        low.as_f64() < speedup.as_f64() && speedup.as_f64() < high.as_f64(),
        "{caching}"
    );
    assert!(low.as_f64().unwrap() > 2.0, "{caching}");
    // What the tool reports of the cache is what the server did.
    let truth: Vec<u64> = server.generations()[1..]
        .iter()
        .filter_map(|r| r.cached_tokens)
        .collect();
    assert_eq!(truth.iter().sum::<u64>() as f64, cached);
    let run = run.says("Caching works: the server took ");
    run.says("Output from cache is right: all 6 answers");
    assert_eq!(verdict(&place, "output")["verdict"], "equal");
    assert!(
        rows.texts("matches_cold_text")
            .iter()
            .all(|word| ["", "yes"].contains(word))
    );
    assert!(
        place
            .read("index.html")
            .contains("Single Prompt Performance Test")
    );
}

#[test]
fn a_server_without_a_cache_is_told_so() {
    let mut config = SimConfig::demo();
    // Blocks longer than any prompt: nothing is ever reused, and the server says so.
    config.engine.block_size = BlockSize::try_new(1 << 16).unwrap();
    for tier in &mut config.engine.tiers {
        tier.capacity = TokenCount(1 << 24);
    }
    let server = start(config);
    let (place, run) = run(&server, "");
    assert_eq!(verdict(&place, "caching")["verdict"], "does not work");
    assert_eq!(verdict(&place, "caching")["reported_share"], 0.0);
    run.says("WARNING - Caching does not work: the server reports that it took 0.0%");
}

#[test]
fn a_server_that_reports_nothing_is_judged_by_its_times() {
    let mut config = SimConfig::demo();
    config.usage = UsageForm::Null;
    let server = start(config);
    let (place, run) = run(&server, "");
    assert!(
        place
            .rows()
            .texts("reported_cached_tokens")
            .iter()
            .all(|cell| cell.is_empty())
    );
    let caching = verdict(&place, "caching");
    assert_eq!(
        (&caching["verdict"], &caching["reported_share"]),
        (&"works".into(), &Value::Null)
    );
    run.says(
        "Caching works, by the times: the server does not report what it took from its cache, but",
    );
}

#[test]
fn a_field_that_is_always_zero_does_not_hide_a_cache() {
    let mut config = SimConfig::demo();
    config.usage = UsageForm::ZeroCached;
    let server = start(config);
    let (place, _) = run(&server, "");
    assert_eq!(verdict(&place, "caching")["verdict"], "works");
}

#[test]
fn what_cannot_be_told_is_not_told() {
    let mut config = SimConfig::demo();
    config.usage = UsageForm::Null;
    let server = start(config);
    // One pair has no spread.
    let place = Place::new();
    let once = place.quick(&server.url(), "--context-sizes 500").exits(0);
    once.says("Cannot tell whether caching works: the server does not report")
        .says("a single prompt shows no spread");
    // Prompts that fill no block.
    let mut config = SimConfig::demo();
    config.engine.block_size = BlockSize::try_new(256).unwrap();
    let server = start(config);
    let place = Place::new();
    let short = place
        .quick(&server.url(), "--context-sizes 100 --num-iterations 3")
        .exits(0);
    short.says("Cannot tell whether caching works: the prompts are shorter than the blocks");
}

#[test]
fn a_seeded_repeat_on_a_warm_server_is_doubted() {
    let server = start(SimConfig::demo());
    let place = Place::new();
    for times in 0..2 {
        let dir = format!("--seed 4 --output-dir out{times}");
        let run = place.quick(&server.url(), &format!("{RUN} {dir}")).exits(0);
        let warm = run
            .stderr
            .matches("prompts that nobody had sent before were served")
            .count();
        assert_eq!(warm, if times == 0 { 0 } else { 2 }, "{}", run.stderr);
    }
}

#[test]
fn every_form_of_stream_and_both_apis_give_the_same_rows() {
    for form in [
        "no-role",
        "empty-chunks=3",
        "tokens-per-chunk=2",
        "reasoning-content=2",
        "reasoning=2",
        "tool-call",
        "no-done",
        "crlf",
        "comments=0.001",
        "split-utf8",
    ] {
        let mut config = SimConfig::demo();
        config.forms = std::iter::once(form.parse().unwrap()).collect();
        let server = start(config);
        for api in ["chat", "completions"] {
            let place = Place::new();
            let run = place
                .quick(
                    &server.url(),
                    &format!("--endpoint-type {api} --output-tokens 5"),
                )
                .exits(0);
            let rows = place.rows();
            assert_eq!(
                rows.numbers("completion_tokens"),
                [5.0, 5.0],
                "{form} {api}\n{}",
                run.stderr
            );
            assert!(
                rows.numbers("ttft").iter().all(|ttft| *ttft > 0.0),
                "{form} {api}"
            );
            assert_eq!(
                rows.texts("token_counts"),
                ["server", "server"],
                "{form} {api}"
            );
        }
    }
}

#[test]
fn answers_that_differ_are_counted_and_shown_and_are_no_failure() {
    let mut config = SimConfig::demo();
    config.faults = FaultPlan::of("split-utf8:every=2".parse().unwrap());
    let server = start(config);
    let (place, run) = run(&server, "-r 2");
    let output = verdict(&place, "output");
    assert_eq!(
        (&output["verdict"], &output["compared"]),
        (&"different".into(), &12.into()),
        "{}",
        run.stderr
    );
    assert!(output["different"].as_u64().unwrap() > 0);
    let no = place
        .rows()
        .texts("matches_cold_text")
        .iter()
        .filter(|word| **word == "no")
        .count();
    assert_eq!(Some(no as u64), output["different"].as_u64());
    run.says("WARNING - Output from cache differs: ")
        .says("  500 tokens, iteration 1, prompt 1, cached_r");
}

#[test]
fn another_temperature_is_not_compared() {
    let server = start(SimConfig::demo());
    let place = Place::new();
    let mut command = place.command(&crate::tool::quick(&server.url(), ""));
    command.args(["--extra-body", r#"{"temperature": 0.7}"#]);
    let run = place.spawn(command).finish().exits(0);
    run.says("Output not compared: --extra-body sets a temperature other than 0");
    assert!(
        place
            .rows()
            .texts("matches_cold_text")
            .iter()
            .all(|cell| cell.is_empty())
    );
}

#[test]
fn the_times_are_those_of_the_server() {
    let _undisturbed = testkit::busy::undisturbed();
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Linear {
        per_active: Duration::from_millis(150),
        per_token: Duration::from_millis(20),
    };
    let server = start(config);
    let place = Place::new();
    place
        .quick(&server.url(), "-n 3 --output-tokens 11")
        .exits(0);
    let rows = place.rows();
    // The first of a batch finds an idle server, the last one two others before it.
    for batch in rows.numbers("ttft").chunks(3) {
        let mut sorted = batch.to_vec();
        sorted.sort_by(f64::total_cmp);
        for (n, ttft) in (1..).zip(sorted) {
            let expected = 0.15 * f64::from(n);
            assert!(
                (expected..expected + 0.08).contains(&ttft),
                "{ttft} for {expected}"
            );
        }
    }
    for (generation, total) in rows
        .numbers("generation_time")
        .iter()
        .zip(rows.numbers("total_time"))
    {
        assert!((0.19..0.4).contains(generation), "{generation}");
        assert!(total > *generation);
    }
}

#[test]
fn the_defaults_find_tokenizer_and_sizes_of_a_simulator_by_themselves() {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_millis(5),
    };
    config.max_model_len = TokenCount(5000);
    let server = start(config);
    let place = Place::new();
    let run = place
        .run(&format!(
            "--api-endpoint {} --output-tokens 4 --num-iterations 2",
            server.url()
        ))
        .exits(1);
    // Sizes beyond the model's limit are refused one by one; the others are measured.
    let run = run
        .says("Context Range: 1,000 to 128,000 tokens (doubling)")
        .says("Tokenizer: builtin");
    assert_eq!(
        run.stderr.matches("The server refuses prompts of").count(),
        5
    );
    let names = place.names("single_prompt_output");
    let csv = names
        .iter()
        .find(|name| name.starts_with("single_prompt_results_"))
        .unwrap();
    let text =
        std::fs::read_to_string(place.path().join("single_prompt_output").join(csv)).unwrap();
    assert_eq!(text.lines().count(), 1 + 3 * 4);
}
