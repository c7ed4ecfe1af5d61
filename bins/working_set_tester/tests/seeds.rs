//! Every example command of the user's pages that concerns this tool: it becomes a plan, and a smaller copy of it runs.

use cli::argparse::{Stop, try_parse};
use cli::options::Mode;
use testkit::process::Finished;
use working_set_tester::args::{Args, OPTION_GENERATIONS};
use working_set_tester::plan::Plan;

#[path = "../../cache_rate_tester/tests/support/support.rs"]
#[allow(dead_code, reason = "other targets use the rest")]
mod support;
#[path = "support/tool.rs"]
mod tool;

use support::output::Output;
use support::process::Place;
use support::server;

/// What all smaller copies have in common; what the page gave stands before it.
const SMALLER: &str = "--output-tokens 4 --chunk-size 16 --max-concurrency 16 --test-duration 4 --ramp-duration 1 \
    --assessment-period 1 --num-retries 0";
/// Tokens of contexts and working sets are divided by this.
const FACTOR: u64 = 100;
/// Given levels are lowered to this.
const HIGHEST_LEVEL: u64 = 16;

const TOOL_PAGE: &str = include_str!("data/seed_working_set_tester.md");
const SUITE_PAGE: &str = include_str!("data/seed_suite.md");
/// Examples on the two pages.
const ON_TOOL_PAGE: usize = 4;
const ON_SUITE_PAGE: usize = 4;

/// Arguments of every `python working_set_tester.py …`, the program's name first.
fn examples(page: &str) -> Vec<Vec<String>> {
    testkit::page::calls(page, "working_set_tester.py")
}

fn plan(words: &[String]) -> Result<Plan, String> {
    let args: Args = try_parse(OPTION_GENERATIONS, words).map_err(|stop| match stop {
        Stop::Usage(error) => error.message,
        Stop::Text { plain, .. } => plain,
    })?;
    Plan::try_from(args).map_err(|error| error.to_string())
}

#[test]
fn the_examples_of_the_tools_page_are_plans() {
    let examples = examples(TOOL_PAGE);
    assert_eq!(examples.len(), ON_TOOL_PAGE);
    let plans: Vec<Plan> = examples
        .iter()
        .map(|words| plan(words).unwrap_or_else(|error| panic!("{words:?}: {error}")))
        .collect();
    let modes: Vec<Mode> = plans.iter().map(|plan| plan.common.mode).collect();
    assert_eq!(
        modes,
        [Mode::Sustained, Mode::Fixed, Mode::Fixed, Mode::Fixed]
    );
    assert_eq!(plans[0].common.thresholds.max_ttft, Some(5.0));
    assert_eq!(plans[0].common.cache_hit_rates, [90]);
    assert_eq!(plans[1].common.fixed_levels, [10, 20, 40, 80]);
    assert_eq!(plans[1].common.thresholds.max_ttft, None);
    assert_eq!(plans[1].working_set_sizes.len(), 10);
    assert_eq!(plans[2].common.cache_hit_rates, [0, 50, 100]);
    assert_eq!(plans[3].common.thresholds.max_ttft, Some(3.0));
    assert!(plans.iter().all(|plan| plan.notices.is_empty()));
}

#[test]
fn the_examples_of_the_suites_page_are_plans_but_for_the_misspelt_one() {
    let examples = examples(SUITE_PAGE);
    assert_eq!(examples.len(), ON_SUITE_PAGE);
    let (misspelt, good): (Vec<_>, Vec<_>) = examples
        .iter()
        .partition(|words| words.iter().any(|word| word == "--api-edpoint"));
    assert_eq!((misspelt.len(), good.len()), (1, 3));
    let refused = plan(misspelt[0]).expect_err("a misspelt option is no option");
    assert!(refused.contains("--api-edpoint"), "{refused}");
    for words in good {
        let plan = plan(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        // None of them names a threshold: one is assumed, and that is said.
        assert_eq!(plan.common.mode, Mode::Sustained);
        assert!(plan.threshold_is_assumed && plan.notices.len() == 1);
    }
}

#[test]
fn the_misspelt_example_gets_a_suggestion() {
    let examples = examples(SUITE_PAGE);
    let place = Place::new();
    let misspelt = examples
        .iter()
        .find(|words| words.iter().any(|word| word == "--api-edpoint"));
    let ended = place
        .program(tool::BINARY)
        .args(&misspelt.expect("one is misspelt")[1..])
        .run()
        .exits(2)
        .says("did you mean '--api-endpoint'");
    assert!(ended.stdout.is_empty());
    assert!(place.files().is_empty(), "{:?}", place.files());
}

/// The same command with smaller sizes and lower levels, against this server.
fn smaller(words: &[String], url: &str) -> Vec<String> {
    let mut flag = "";
    let mut copy: Vec<String> = Vec::with_capacity(words.len());
    for word in &words[1..] {
        let number: Option<u64> = word.parse().ok();
        copy.push(match (flag, number) {
            _ if word.starts_with("--") => {
                flag = word;
                // The user's mistake, corrected: what it was to show is shown as well.
                word.replace("edpoint", "endpoint")
            }
            ("--api-endpoint" | "--api-edpoint", _) => url.to_owned(),
            (
                "--context-sizes" | "--min-working-set-size" | "--max-working-set-size",
                Some(tokens),
            ) => (tokens / FACTOR).to_string(),
            ("--fixed-concurrency-levels", Some(level)) => level.min(HIGHEST_LEVEL).to_string(),
            _ => word.clone(),
        });
    }
    copy.extend(SMALLER.split_whitespace().map(str::to_owned));
    copy
}

/// Runs the smaller copy of the example with this number on this page.
#[track_caller]
fn run(page: &str, number: usize) -> (Place, Output, Finished) {
    let mut config = server::fixed(0.05);
    // Known by this name, the built-in tokenizer is taken.
    config.model = sim::DEFAULT_MODEL.to_owned();
    let server = server::start(config);
    let place = Place::new();
    let words = &examples(page)[number];
    let ended = place
        .tool("")
        .args(smaller(words, &server.url()))
        .run()
        .exits(0)
        .says("✓ All tests complete!");
    let flag = words.iter().position(|word| word == "--output-dir");
    let dir = flag.map_or("output", |at| words[at + 1].as_str());
    let output = Output::new(place.path().join(dir));
    output.assert_valid();
    (place, output, ended)
}

#[test]
fn the_sustained_example_runs() {
    let (_place, output, _) = run(TOOL_PAGE, 0);
    assert_eq!(output.completed(), ["100_20000_90"]);
    assert!(
        output
            .pages()
            .contains("sustained_ctx100_ws20000_cache90.html")
    );
}

#[test]
fn the_fixed_example_runs() {
    let (_place, output, _) = run(TOOL_PAGE, 1);
    assert_eq!(output.completed().len(), 10);
    assert!(
        output
            .pages()
            .contains("fixed_ctx300_ws50000_cache100.html")
    );
    assert!(
        output
            .pages()
            .contains("performance_vs_working_set_300.html")
    );
}

#[test]
fn the_fixed_example_with_several_rates_runs() {
    let (_place, output, _) = run(TOOL_PAGE, 2);
    assert_eq!(output.completed().len(), 15);
    assert_eq!(output.summary().distinct("cache_hit_rate").len(), 3);
}

#[test]
fn the_fixed_example_with_a_threshold_runs() {
    let (_place, output, _) = run(TOOL_PAGE, 3);
    assert_eq!(output.completed().len(), 8);
}

#[test]
fn the_quick_start_of_the_suite_runs() {
    let (_place, output, ended) = run(SUITE_PAGE, 0);
    assert_eq!(output.completed(), ["300_50000_100"]);
    let _ = ended.says("--max-ttft 2.0 (seconds) is assumed");
}

#[test]
fn the_suites_first_example_runs() {
    let (_place, output, _) = run(SUITE_PAGE, 1);
    assert_eq!(output.completed(), ["300_50000_100"]);
}

#[test]
fn the_suites_example_with_several_rates_runs_once_it_is_spelt() {
    let (_place, output, _) = run(SUITE_PAGE, 2);
    assert_eq!(output.completed().len(), 3);
}

#[test]
fn the_suites_example_with_coverage_runs() {
    let (_place, output, ended) = run(SUITE_PAGE, 3);
    assert_eq!(output.completed(), ["300_200000_100"]);
    let _ = ended
        .says("Extending for working set coverage")
        .never_says("was not reached");
    let periods = output.newest("sustained_periods_ctx300_ws200000_cache100_");
    // All of it: 658 prompts of 304 tokens.
    assert_eq!(periods.texts("working_set_size").last().unwrap(), "200032");
}
