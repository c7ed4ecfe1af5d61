//! Arguments in, plan or one line of refusal out.

use cli::argparse::try_parse;
use proptest::prelude::*;

use super::*;
use crate::args::OPTION_GENERATIONS;

const REQUIRED: &str = "--api-endpoint http://localhost:8000";

fn parsed(words: Vec<String>) -> Args {
    let mut args: Args =
        try_parse(OPTION_GENERATIONS, words).unwrap_or_else(|stop| panic!("{stop:?}"));
    // Whoever runs the tests may have a key in the environment.
    if std::env::var("OPENAI_API_KEY").is_ok() {
        args.requests.api_key = None;
    }
    args
}

fn words(more: &str) -> Vec<String> {
    testkit::line::words("single_prompt_tester", &format!("{REQUIRED} {more}"))
}

#[track_caller]
fn plan(more: &str) -> Plan {
    Plan::try_from(parsed(words(more))).unwrap_or_else(|error| panic!("{more}: {error}"))
}

#[track_caller]
fn refused(more: &str) -> String {
    let error = Plan::try_from(parsed(words(more))).expect_err(more);
    format!("{:#}", anyhow::Error::new(error))
}

#[test]
fn defaults_are_those_of_the_page() {
    let plan = plan("");
    assert_eq!(
        plan.context_sizes,
        [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000]
    );
    assert_eq!((plan.output_tokens, plan.num_iterations), (256, 5));
    assert_eq!((plan.concurrent_prompts, plan.cached_repeats), (1, 1));
    assert_eq!(plan.output_dir.to_str(), Some("./single_prompt_output"));
    assert_eq!((plan.tokenizer, plan.seed), (None, None));
    assert!(!plan.brief && !plan.verbose && !plan.no_color);
}

#[test]
fn sizes_double_up_to_the_longest_and_never_beyond() {
    for (more, sizes) in [
        (
            "--min-tokens 2000 --max-tokens 256000",
            vec![2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000],
        ),
        ("--min-tokens 100 --max-tokens 799", vec![100, 200, 400]),
        ("--min-tokens 5 --max-tokens 5", vec![5]),
    ] {
        assert_eq!(plan(more).context_sizes, sizes, "{more}");
    }
}

#[test]
fn listed_sizes_are_sorted_and_said_once() {
    let plan = plan("--context-sizes 8000 200 8_000 200 5 --min-tokens 0");
    assert_eq!(plan.context_sizes, [5, 200, 8000]);
    assert_eq!(plan.duplicate_sizes, [200, 8000]);
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    for (more, said) in [
        (
            "--min-tokens 500 --max-tokens 100",
            "Invalid parameter range: min-tokens (500) must be <= max-tokens (100)",
        ),
        (
            "--max-tokens 0",
            "Invalid parameter range: min-tokens (1000) must be <= max-tokens (0)",
        ),
        (
            "--max-tokens -7",
            "Invalid parameter range: min-tokens (1000) must be <= max-tokens (-7)",
        ),
        ("--min-tokens 0", "--min-tokens 0 is out of range"),
        ("--min-tokens -1", "--min-tokens -1 is out of range"),
        ("--context-sizes 100 0", "--context-sizes 0 is out of range"),
        ("--context-sizes -5", "--context-sizes -5 is out of range"),
        (
            "--context-sizes 99999999999999999",
            "--context-sizes 99999999999999999 is out of range",
        ),
        ("--num-iterations 0", "--num-iterations 0 is out of range"),
        ("-n 0", "--concurrent-prompts 0 is out of range"),
        ("-r 0", "--cached-repeats 0 is out of range"),
        ("-r -2", "--cached-repeats -2 is out of range"),
        ("--output-tokens 0", "--output-tokens 0 is out of range"),
        (
            "--seed 99999999999999999999",
            "--seed 99999999999999999999 is out of range",
        ),
        ("--tokenizer=", "--tokenizer '' is empty"),
        (
            "--extra-body {\"messages\":1}",
            "--extra-body sets \"messages\"",
        ),
        ("--api-endpoint ftp://x", "--api-endpoint"),
    ] {
        let error = refused(more);
        assert!(error.starts_with(said), "{more}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_last_of_several_counts_and_short_options_stick_to_their_values() {
    let plan = plan("-n4 -n 3 --concurrent 2 --num 3 --cached-repeats=2 --seed -5");
    assert_eq!((plan.concurrent_prompts, plan.cached_repeats), (2, 2));
    assert_eq!((plan.num_iterations, plan.seed), (3, Some(-5)));
}

#[test]
fn every_64_bit_seed_is_taken() {
    for seed in [
        i128::from(i64::MIN),
        -1,
        0,
        i128::from(u32::MAX) + 1,
        i128::from(u64::MAX),
    ] {
        assert_eq!(plan(&format!("--seed {seed}")).seed, Some(seed));
    }
}

proptest! {
    /// The options that a script repeats make the same plan again, secrets aside.
    #[test]
    fn a_plan_written_down_is_the_same_plan(
        sizes in prop::option::of(prop::collection::vec(1_u64..200_000, 1..5)),
        min in 1_u64..5000, factor in 1_u64..100, n in 1_u32..50, r in 1_u32..9, iterations in 1_u32..20,
        output_tokens in 1_u64..1000, seed in prop::option::of(any::<i64>()), flags in 0_u8..16,
    ) {
        let mut line = format!("-n {n} -r {r} --num-iterations {iterations} --output-tokens {output_tokens}");
        match sizes {
            Some(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
                line.push_str(&format!(" --context-sizes {}", sizes.join(" ")));
            }
            None => line.push_str(&format!(" --min-tokens {min} --max-tokens {}", min * factor)),
        }
        if let Some(seed) = seed {
            line.push_str(&format!(" --seed {seed}"));
        }
        for (bit, flag) in ["--brief", "--no-color", "--ignore-eos", "--tokenizer~a~b --model m"].iter().enumerate() {
            if flags & (1 << bit) != 0 {
                line.push_str(&format!(" {}", flag.replace("--tokenizer~", "--tokenizer=")));
            }
        }
        let first = plan(&line);
        let words = first.command_options().into_iter().flat_map(|(flag, values)| match &values[..] {
            [value] if value.starts_with('-') => vec![format!("{flag}={value}")],
            _ => std::iter::once(flag).chain(values).collect(),
        });
        let tool = std::iter::once("single_prompt_tester".to_owned());
        let again = Plan::try_from(parsed(tool.chain(words).collect())).unwrap();
        // The list of a plan has no duplicates to tell of.
        prop_assert_eq!(&first.context_sizes, &again.context_sizes);
        prop_assert_eq!(first.command_options(), again.command_options());
        prop_assert_eq!(first.seed, again.seed);
    }
}

#[test]
fn secrets_stay_out_of_the_script() {
    let plan =
        plan("--api-key sk-verysecret --header Authorization:~Basic~abcdef --header X-Class:~gold");
    let shown = format!("{:?}", plan.command_options());
    assert!(shown.contains("gold"), "{shown}");
    assert!(
        !shown.contains("verysecret") && !shown.contains("abcdef"),
        "{shown}"
    );
}
