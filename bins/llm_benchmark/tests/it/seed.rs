//! Every command of the user's page: read from it, counted, and run against the simulator.

use std::time::Duration;

use sim::model::ServiceModel;
use sim::{Background, SimConfig};

use crate::tool::{Place, Shown};

const PAGE: &str = include_str!("../data/seed_llm_benchmark.md");

/// Words of the page's shell commands.
fn commands() -> Vec<Vec<String>> {
    let all = testkit::page::commands(PAGE).into_iter();
    all.filter(|command| command.language == "bash")
        .map(|command| command.words())
        .collect()
}

fn benchmarks() -> Vec<Vec<String>> {
    let mut benchmarks = commands();
    benchmarks.retain(|words| words[..2] == ["python", "main.py"]);
    benchmarks
}

#[test]
fn the_page_has_nine_commands_and_five_of_them_are_ours() {
    let commands = commands();
    assert_eq!(commands.len(), 9, "{commands:?}");
    assert_eq!(benchmarks().len(), 5);
    assert_eq!(commands[0], ["python", "-m", "venv", "venv"]);
    assert_eq!(commands[7][0], "uvicorn");
}

#[test]
fn every_command_of_the_page_runs_against_the_simulator() {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_millis(10),
    };
    let server = Background::start(config).unwrap();
    let url = format!("{}/generate", server.url());
    let mut n_sent = 0;
    for words in benchmarks() {
        let place = Place::new();
        let given: Vec<&str> = words[2..].iter().map(String::as_str).collect();
        let requests = match given.iter().position(|word| *word == "--requests") {
            Some(at) => given[at + 1].parse().unwrap(),
            None => 50,
        };
        // A fifth of the requests, at the address where the simulator happens to listen.
        let scaled: usize = requests / 5;
        let n = scaled.to_string();
        let args = [&given[..], &["--endpoint", &url, "--requests", &n]].concat();
        place.run(&args).exits(0).shows("Successful:", &n);
        n_sent += scaled + 5;
        assert_eq!(server.generations().len(), n_sent, "{words:?}");
        if given.contains(&"--output") {
            assert_eq!(place.json("results.json")["total_requests"], scaled);
        }
    }
}

#[test]
fn options_and_defaults_are_those_of_the_pages_table() {
    let rows: Vec<(&str, &str)> = PAGE
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `--")?.split('|').map(str::trim);
            Some((
                cells.next()?.trim_matches('`'),
                cells.next()?.trim_matches('`'),
            ))
        })
        .collect();
    assert_eq!(rows.len(), 7);
    use clap::CommandFactory;
    let command = llm_benchmark::args::Args::command();
    for (name, default) in rows {
        let mut args = command.get_arguments();
        let arg = args.find(|arg| arg.get_long() == Some(name)).unwrap();
        let ours = arg
            .get_default_values()
            .first()
            .map_or("None".into(), |v| v.to_string_lossy());
        assert_eq!(ours, default, "--{name}");
    }
}
