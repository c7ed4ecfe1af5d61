//! Arguments in, plan or one line of refusal out.

use std::time::Duration;

use clap::CommandFactory;
use cli::argparse::try_parse;
use cli::secret::Secret;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use setup::study::{KnownFacts, Recorded};

use super::*;
use crate::args::OPTION_GENERATIONS;

const REQUIRED: &str = "--api-endpoint http://localhost:8000 --context-sizes 30000 --min-working-set-size 100000 \
    --max-working-set-size 5000000 --working-set-increments 10";

fn words(line: &str) -> Vec<String> {
    testkit::line::words("working_set_tester", line)
}

fn parse_words(words: Vec<String>) -> Args {
    let mut args: Args =
        try_parse(OPTION_GENERATIONS, words).unwrap_or_else(|stop| panic!("{stop:?}"));
    // Whoever runs the tests may have a key in the environment.
    if std::env::var("OPENAI_API_KEY")
        .is_ok_and(|key| args.study.endpoint.requests.api_key == Some(Secret::new(key)))
    {
        args.study.endpoint.requests.api_key = None;
    }
    args
}

fn plan(more: &str) -> Plan {
    Plan::try_from(parse_words(words(&format!("{REQUIRED} {more}"))))
        .unwrap_or_else(|error| panic!("{more}: {error}"))
}

#[track_caller]
fn refused(more: &str, words_of_it: &[&str]) {
    let error = Plan::try_from(parse_words(words(&format!("{REQUIRED} {more}")))).expect_err(more);
    let line = format!("{:#}", anyhow::Error::new(error));
    for word in words_of_it {
        assert!(line.contains(word), "{more}: no '{word}' in: {line}");
    }
    assert!(!line.contains('\n'), "{line}");
}

fn parameters(plan: &Plan) -> Map<String, Value> {
    plan.parameters(KnownFacts::default())
}

#[test]
fn defaults_are_those_of_the_page() {
    let plan = plan("");
    assert_eq!(
        plan.working_set_sizes,
        [
            100_000, 644_444, 1_188_888, 1_733_333, 2_277_777, 2_822_222, 3_366_666, 3_911_111,
            4_455_555, 5_000_000
        ]
    );
    let common = &plan.common;
    assert_eq!(common.mode, Mode::Sustained);
    assert_eq!(common.cache_hit_rates, [100]);
    assert_eq!(common.output_tokens, 256);
    let secs = Duration::from_secs;
    assert_eq!(
        (common.test_duration, common.ramp_duration),
        (secs(300), secs(60))
    );
    assert_eq!(common.assessment_period, secs(30));
    assert_eq!((common.num_retries, common.init_concurrency), (3, 16));
    assert_eq!(
        (common.start_concurrency, common.concurrency_increment),
        (2, 2)
    );
    assert_eq!((common.max_concurrency, common.chunk_size), (1000, 256));
    assert_eq!(plan.reinit_strategy, ReinitStrategy::PerWorkingSet);
    assert_eq!(plan.init_strategy, InitStrategy::Min);
    assert_eq!(plan.plateau_detection, PlateauDetection::Off);
    assert!(!plan.ensure_coverage);
}

/// The page's table of thresholds per mode.
#[test]
fn thresholds_depend_on_the_mode_and_on_whether_it_was_given() {
    let fixed = "--mode fixed --fixed-concurrency-levels 1";
    let two = Some(2.0);
    for (more, max_ttft, notices) in [
        ("", two, vec![Notice::AssumedThreshold { is_warning: true }]),
        (
            "--mode ramp",
            two,
            vec![Notice::AssumedThreshold { is_warning: false }],
        ),
        (fixed, None, vec![]),
        ("--max-ttft 3", Some(3.0), vec![]),
        ("--mode sustained --max-ttft 3", Some(3.0), vec![]),
        ("--min-tokens-per-req 5", None, vec![]),
        ("--mode ramp --min-tokens-per-req 5", None, vec![]),
    ] {
        let plan = plan(more);
        assert_eq!(plan.common.thresholds.max_ttft, max_ttft, "{more}");
        assert_eq!(plan.notices, notices, "{more}");
        assert_eq!(plan.threshold_is_assumed, !notices.is_empty(), "{more}");
        // What takes effect is what is written down, assumed or not.
        assert_eq!(parameters(&plan)["max_ttft"], json!(max_ttft), "{more}");
    }
    refused(
        "--mode sustained",
        &["--max-ttft", "--min-tokens-per-req", "at least one"],
    );
}

#[test]
fn levels_keep_their_order_and_count_once() {
    let plan = plan("--mode fixed --fixed-concurrency-levels 8 2 8 4 2");
    assert_eq!(plan.common.fixed_levels, [8, 2, 4]);
    assert_eq!(
        plan.notices,
        [Notice::LevelsRepeated { levels: vec![8, 2] }]
    );
    assert_eq!(
        parameters(&plan)["fixed_concurrency_levels"],
        json!([8, 2, 4])
    );
}

#[test]
fn one_level_may_be_given_by_its_own_option() {
    let one = plan("--mode fixed --fixed-concurrency 4");
    let list = plan("--mode fixed --fixed-concurrency-levels 4");
    assert_eq!(one.common.fixed_levels, [4]);
    assert_eq!(parameters(&one), parameters(&list));
    // Once a prefix of the list, it still takes one.
    assert_eq!(
        plan("--mode fixed --fixed-concurrency 4 8")
            .common
            .fixed_levels,
        [4, 8]
    );
    refused(
        "--mode fixed --fixed-concurrency 4 --fixed-concurrency-levels 4",
        &["--fixed-concurrency", "--fixed-concurrency-levels"],
    );
    refused(
        "--mode fixed --fixed-concurrency 0",
        &["--fixed-concurrency 0", "out of range"],
    );
}

#[test]
fn levels_where_none_are_asked_for_are_ignored_with_a_word() {
    for mode in ["--max-ttft 1", "--mode ramp --max-ttft 1"] {
        let plan = plan(&format!("{mode} --fixed-concurrency-levels 2 4"));
        assert!(plan.common.fixed_levels.is_empty(), "{mode}");
        let mode = plan.common.mode;
        assert_eq!(plan.notices, [Notice::LevelsIgnored { mode }]);
    }
}

#[test]
fn one_size_leaves_the_maximum_unused() {
    let plan = plan("--max-ttft 1 --working-set-increments 1");
    assert_eq!(plan.working_set_sizes, [100_000]);
    assert_eq!(plan.last_size(), 100_000);
    let (min, max) = (100_000, 5_000_000);
    assert_eq!(plan.notices, [Notice::MaximumUnused { min, max }]);
}

#[test]
fn equal_sizes_are_one() {
    let plan =
        plan("--max-ttft 1 --min-working-set-size 7 --max-working-set-size 7 --working-set-i 3");
    assert_eq!(plan.working_set_sizes, [7]);
    assert!(plan.notices.is_empty());
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    for (more, words) in [
        (
            "--min-working-set-size 6 --max-working-set-size 5",
            &["--min-working-set-size 6", "--max-working-set-size 5"][..],
        ),
        (
            "--working-set-increments 0",
            &["--working-set-increments 0"],
        ),
        ("--min-working-set-size 0", &["--min-working-set-size 0"]),
        ("--max-working-set-size -1", &["--max-working-set-size -1"]),
        (
            "--mode fixed",
            &["--mode fixed", "--fixed-concurrency-levels"],
        ),
        (
            "--mode fixed --fixed-concurrency-levels 2 0",
            &["--fixed-concurrency-levels 0"],
        ),
        (
            "--mode ramp --ramp-duration 61 --test-duration 60",
            &["--test-duration 60", "--ramp-duration 61"],
        ),
        (
            "--start-concurrency 9 --max-concurrency 8",
            &["--start-concurrency 9", "--max-concurrency 8"],
        ),
        ("--init-concurrency 0", &["--init-concurrency 0"]),
        ("--chunk-size 0", &["--chunk-size 0"]),
        ("--cache-hit-rates 101", &["--cache-hit-rates 101"]),
        ("--assessment-period 0", &["--assessment-period 0"]),
        ("--max-ttft 0", &["--max-ttft 0"]),
    ] {
        refused(more, words);
    }
}

#[test]
fn a_short_sustained_test_is_no_matter_of_the_ramp_duration() {
    assert_eq!(
        plan("--max-ttft 1 --test-duration 30").common.test_duration,
        Duration::from_secs(30)
    );
}

#[test]
fn an_assumed_threshold_ends_no_test() {
    use setup::study::StudyTool;
    let rules = |more: &str| {
        let study = plan(more).study("m", core_client::RunClock::start());
        let engine::study::Mode::Sustained(settings) = study.mode else {
            panic!("{more}: not sustained");
        };
        settings.rules.hopeless_after
    };
    assert_eq!(rules(""), None);
    assert_eq!(rules("--max-ttft 2.0"), Some(3));
}

#[test]
fn parameters_keep_the_originals_keys_and_order() {
    let keys: Vec<String> = parameters(&plan("")).keys().cloned().collect();
    assert_eq!(
        keys[..33],
        [
            "api_endpoints",
            "context_sizes",
            "working_set_sizes",
            "cache_hit_rates",
            "output_tokens",
            "max_ttft",
            "ttft_metric",
            "output_dir",
            "tokenizer_id",
            "test_duration",
            "ramp_duration",
            "reinit_strategy",
            "random_selection",
            "num_retries",
            "start_concurrency",
            "concurrency_increment",
            "max_concurrency",
            "init_concurrency",
            "skip_graphs",
            "force_restart",
            "verbose",
            "chunk_size",
            "seed",
            "kv_cache_bytes",
            "strict_time_window",
            "mode",
            "assessment_period",
            "min_tokens_per_req",
            "init_strategy",
            "fixed_concurrency_levels",
            "ensure_working_set_coverage",
            "plateau_detection",
            "detected_model",
        ]
    );
}

fn command_line(plan: &Plan) -> Vec<String> {
    testkit::line::written("working_set_tester", plan.command_options())
}

#[test]
fn the_repeated_command_holds_required_options_and_what_differs() {
    assert_eq!(command_line(&plan(""))[1..], words(REQUIRED)[1..]);
    // What was given ends a hopeless test, what was assumed does not: they are not the same.
    assert!(command_line(&plan("--max-ttft 2.0")).contains(&"--max-ttft".to_owned()));
    assert!(!command_line(&plan("--force-restart")).contains(&"--force-restart".to_owned()));
}

/// A value other than the default for every option that takes one.
const OTHER_VALUES: &[&str] = &[
    "--mode fixed --fixed-concurrency-levels 3 1",
    "--mode ramp",
    "--mode sustained --min-tokens-per-req 2",
    "--output-tokens 7",
    "--max-ttft 0.25",
    "--ttft-metric avg",
    "--min-tokens-per-req 3.5",
    "--tokens-per-req-metric p5",
    "--test-duration 301",
    "--ramp-duration 61",
    "--assessment-period 31",
    "--num-retries 4",
    "--cooldown 2.5",
    "--strict-time-window",
    "--start-concurrency 3",
    "--concurrency-increment 3",
    "--max-concurrency 999",
    "--init-concurrency 15",
    "--cache-hit-rates 10 20",
    "--chunk-size 16",
    "--reinit-strategy per_test",
    "--init-strategy max",
    "--plateau-detection window",
    "--ensure-working-set-coverage",
    "--random-working-set-selection",
    "--kv-cache-quantization 1",
    "--tokenizer builtin",
    "--seed 77",
    "--api-endpoint http://a:1 http://b:2/v1",
    "--endpoint-selection pinned",
    "--model my~model",
    "--header X-A:~b~c --header X-D:~e",
    "--endpoint-type completions",
    "--ignore-eos",
    "--extra-body {\"top_p\":0.5,\"stop\":[\"a~b\"]}",
    "--request-timeout 12.5",
    "--http 1",
    "--insecure",
    "--client-threads 3",
    "--calibrate off",
    "--output-dir a~dir",
    "--skip-graphs",
    "--brief",
    "--verbose",
    "--no-color",
    "--context-sizes 5 4",
    "--min-working-set-size 9",
    "--max-working-set-size 5000001",
    "--working-set-increments 1",
];

#[test]
fn every_option_that_differs_is_repeated() {
    let options = OTHER_VALUES
        .iter()
        .flat_map(|more| plan(more).command_options());
    let left_out = testkit::line::left_out(&Args::command(), options.map(|(flag, _)| flag));
    // A secret, another spelling of an option that is repeated, and one that must not be.
    assert_eq!(left_out, ["api-key", "fixed-concurrency", "force-restart"]);
}

proptest! {
    /// The options written down for a plan parse back to the same plan, whatever options made it. What it was told of
    /// levels that are ignored or repeated is of the command line and not of the plan.
    #[test]
    fn what_is_written_down_parses_back(chosen in prop::sample::subsequence(OTHER_VALUES, 0..OTHER_VALUES.len())) {
        // Sustained mode by name needs a threshold, which another option of the draw may have replaced.
        let line = format!("{} --min-tokens-per-req 1.5", chosen.join(" "));
        let first = plan(&line);
        let again = Plan::try_from(parse_words(command_line(&first))).unwrap();
        let bare = |plan: &Plan| format!("{:?}", Plan { notices: Vec::new(), ..plan.clone() });
        prop_assert_eq!(bare(&first), bare(&again));
        prop_assert_eq!(parameters(&first), parameters(&again));
    }

    /// So does a plan whose threshold was assumed.
    #[test]
    fn an_assumption_parses_back(mode in prop::sample::select(vec!["", "--mode ramp"])) {
        let first = plan(mode);
        let again = Plan::try_from(parse_words(command_line(&first))).unwrap();
        prop_assert_eq!(format!("{first:?}"), format!("{again:?}"));
    }

    /// Sizes ascend from the smallest to the largest, and there are as many as were asked for, at most.
    #[test]
    fn sizes_lie_between_the_ends(min in 1u64..1_000_000, more in 0u64..10_000_000, n in 1u32..200) {
        let max = min + more;
        let plan = plan(&format!(
            "--min-working-set-size {min} --max-working-set-size {max} --working-set-increments {n}"
        ));
        let sizes = &plan.working_set_sizes;
        prop_assert!(sizes.is_sorted_by(|a, b| a < b) && sizes.len() <= n as usize);
        prop_assert_eq!(sizes[0], min);
        prop_assert!(n == 1 || *sizes.last().unwrap() == max);
    }
}
