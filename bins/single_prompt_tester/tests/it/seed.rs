//! Every command of the user's pages: read from them, counted, and run against the simulator, scaled down.

use std::time::Duration;

use clap::CommandFactory;
use cli::argparse::{prepare, try_parse};
use sim::model::ServiceModel;
use sim::{Background, SimConfig};
use single_prompt_tester::args::{Args, OPTION_GENERATIONS};
use single_prompt_tester::plan::Plan;

use crate::tool::Place;

const TOOL_PAGE: &str = include_str!("../data/seed_single_prompt_tester.md");
const SUITE_PAGE: &str = include_str!("../data/seed_suite.md");

/// Words behind `single_prompt_tester.py` of every command of a page.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut calls = testkit::page::calls(page, "single_prompt_tester.py");
    for words in &mut calls {
        words.remove(0);
    }
    calls
}

fn all() -> Vec<Vec<String>> {
    let tool = commands(TOOL_PAGE);
    let suite = commands(SUITE_PAGE);
    assert_eq!((tool.len(), suite.len()), (6, 5), "{suite:?}");
    [tool, suite].concat()
}

fn plan(words: &[String]) -> Plan {
    let argv = std::iter::once("single_prompt_tester".to_owned()).chain(words.iter().cloned());
    let args: Args =
        try_parse(OPTION_GENERATIONS, argv).unwrap_or_else(|stop| panic!("{words:?}: {stop:?}"));
    Plan::try_from(args).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

#[test]
fn every_command_is_a_plan() {
    let mut n_plans = 0;
    for words in all() {
        if words == ["--help"] {
            continue;
        }
        let plan = plan(&words);
        assert_eq!(plan.requests.first_url(), "http://localhost:8000");
        n_plans += 1;
    }
    assert_eq!(n_plans, 10);
}

#[test]
fn every_command_runs_against_the_simulator() {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_millis(3),
    };
    let server = Background::start(config).unwrap();
    for words in all() {
        let place = Place::new();
        if words == ["--help"] {
            place.run("--help").exits(0);
            continue;
        }
        let plan = plan(&words);
        // Fewer iterations and at most 16,000 tokens, at the address where the simulator happens to listen, and
        // with the tokenizer that needs no network.
        let mut scaled = format!(
            "{} --api-endpoint {} --tokenizer builtin --num-iterations 1 --output-tokens 2",
            words.join(" "),
            server.url()
        );
        let mut sizes = plan.context_sizes.clone();
        sizes
            .iter_mut()
            .for_each(|size| *size = (*size).min(16_000));
        sizes.dedup();
        let list: Vec<String> = sizes.iter().map(u64::to_string).collect();
        scaled.push_str(&format!(" --context-sizes {}", list.join(" ")));
        place.run(&scaled).exits(0);
        let dir = plan.output_dir.to_string_lossy().into_owned();
        let names = place.names(&dir);
        for page in [
            "single_prompt_performance.html",
            "summary_table.html",
            "index.html",
        ] {
            assert!(
                names.iter().any(|name| name == page),
                "{words:?}: {names:?}"
            );
        }
        let csv = names
            .iter()
            .find(|name| name.starts_with("single_prompt_results_"))
            .unwrap();
        let text = std::fs::read_to_string(place.path().join(&dir).join(csv)).unwrap();
        let per_size = plan.concurrent_prompts as usize * (1 + plan.cached_repeats as usize);
        assert_eq!(
            text.lines().count(),
            1 + sizes.len() * per_size,
            "{words:?}"
        );
    }
}

/// The page's table of options against the tool's own.
#[test]
fn options_and_defaults_are_those_of_the_pages_table() {
    let rows: Vec<Vec<&str>> = TOOL_PAGE
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 13);
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    for row in rows {
        let names: Vec<&str> = row[0]
            .split(", ")
            .map(|name| name.trim_matches('`'))
            .collect();
        let long = names[0].trim_start_matches('-');
        let mut args = command.get_arguments();
        let arg = args
            .find(|arg| arg.get_long() == Some(long))
            .unwrap_or_else(|| panic!("no --{long}"));
        let short = names
            .get(1)
            .map(|name| name.trim_start_matches('-').chars().next().unwrap());
        assert_eq!(arg.get_short(), short, "--{long}");
        let ours = arg
            .get_default_values()
            .first()
            .map(|value| value.to_string_lossy().into_owned());
        match row[2] {
            "**required**" => assert!(arg.is_required_set(), "--{long}"),
            "-" | "false" => assert!(
                ours.is_none() || ours.as_deref() == Some("false"),
                "--{long}: {ours:?}"
            ),
            // Looked for by the server's model first; the default is the last resort.
            "Qwen/Qwen2.5-Coder-32B-Instruct" => {
                assert_eq!(cli::options::DEFAULT_TOKENIZER, row[2])
            }
            default => assert_eq!(ours.as_deref(), Some(default), "--{long}"),
        }
    }
}
