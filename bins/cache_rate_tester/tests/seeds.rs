//! Every example command of the user's pages that concerns this tool becomes a plan.

use cache_rate_tester::args::{Args, OPTION_GENERATIONS};
use cache_rate_tester::plan::Plan;
use cli::argparse::try_parse;
use cli::options::Mode;

const TOOL_PAGE: &str = include_str!("data/seed_cache_rate_tester.md");
const SUITE_PAGE: &str = include_str!("data/seed_suite.md");

fn plans(page: &str) -> Vec<Plan> {
    let plan = |words: Vec<String>| {
        let args: Args = try_parse(OPTION_GENERATIONS, words.clone())
            .unwrap_or_else(|stop| panic!("{words:?}: {stop:?}"));
        Plan::try_from(args).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    };
    let examples = testkit::page::calls(page, "cache_rate_tester.py");
    examples.into_iter().map(plan).collect()
}

#[test]
fn the_examples_of_the_tools_page_run() {
    let plans = plans(TOOL_PAGE);
    assert_eq!(plans.len(), 4);
    assert!(plans.iter().all(|plan| plan.common.mode == Mode::Ramp));
    let sizes: Vec<_> = plans
        .iter()
        .map(|plan| plan.common.context_sizes.clone())
        .collect();
    assert_eq!(
        sizes,
        [
            vec![32_000],
            vec![8_000, 32_000, 64_000, 128_000],
            vec![30_000],
            vec![32_000, 64_000]
        ]
    );
    assert_eq!(plans[0].common.cache_hit_rates.len(), 21);
    assert_eq!(plans[1].common.cache_hit_rates, [0, 25, 50, 75, 100]);
    assert_eq!(plans[2].common.thresholds.max_ttft, Some(1.0));
    assert_eq!(
        (
            plans[2].common.max_concurrency,
            plans[2].common.test_duration.as_secs()
        ),
        (200, 600)
    );
    assert_eq!(plans[3].common.output_dir.to_str(), Some("test_output"));
}

#[test]
fn the_examples_of_the_suites_page_run() {
    let plans = plans(SUITE_PAGE);
    assert_eq!(plans.len(), 5);
    assert_eq!(plans[0].common.context_sizes, [8_000, 32_000, 64_000]);
}
