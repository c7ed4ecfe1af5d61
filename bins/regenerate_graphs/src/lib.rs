//! `regenerate_graphs`: all charts of a result directory, drawn anew from its files.
//!
//! Promise: a thin shell; which charts there are and what they show is [`report::catalogue`]'s work.
//! Everything is read before the first page is replaced, and each page is replaced in one step.

pub mod args;

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use cli::console::Console;
use cli::interrupt::Interrupt;
use cli::{AppExit, Failure};
use report::catalogue::{comparison_charts, each_test_chart};
use report::combine::{LoadError, demand_summary};
use report::data::RunData;
use report::files::{FileKind, ResultDir};
use report::index::{INDEX_FILE, write_index_of};
use report::page::{PageContext, write_chart};

use args::{Args, Tool};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the tool with parsed arguments.
///
/// # Errors
/// A directory that does not exist, with exit code 2; a directory without usable data, or one that cannot
/// be written, with exit code 1.
pub fn run(args: &Args) -> Result<AppExit, Failure> {
    let dir = &args.output_dir;
    if !dir.is_dir() {
        let shown = dir.display();
        return Err(Failure::usage(if dir.exists() {
            anyhow!("{shown} is not a directory")
        } else {
            anyhow!("Output directory does not exist: {shown}")
        }));
    }
    let interrupt = Interrupt::listen();
    let voice = Voice(Console::stderr());
    voice.say("Regenerating Graphs");
    voice.say(format!("Output directory: {}", dir.display()));
    voice.say(format!("Tool: {}_tester", args.tool));
    voice.say("Loading summary data...");
    let data = RunData::read(dir);
    check(&data, args.tool)?;
    for warning in &data.warnings {
        voice.say(format!("Warning: {warning}"));
    }
    tell_sources(&data, &voice)?;
    let context = PageContext {
        model: data.model().map(str::to_owned),
        version: VERSION.to_owned(),
    };
    voice.say("Regenerating main comparison graphs...");
    for chart in comparison_charts(&data) {
        if interrupt.came() {
            return Ok(interrupted(&voice));
        }
        write_chart(dir, &chart, &context)?;
    }
    voice.say("Regenerating ramp graphs...");
    for (test, chart) in each_test_chart(&data) {
        if interrupt.came() {
            return Ok(interrupted(&voice));
        }
        let kind = chart.stem.split('_').next().unwrap_or_default();
        let set = test
            .working_set_size
            .map(|w| format!(", working_set={w}"))
            .unwrap_or_default();
        voice.say(format!(
            "Generating {kind} graph for context={}{set}, cache_rate={}%",
            test.context_size, test.cache_hit_rate
        ));
        write_chart(dir, &chart, &context)?;
    }
    // A dashboard that is there shows small pictures of the charts, so it has to be made again.
    if dir.join(INDEX_FILE).exists() {
        write_index_of(&data, VERSION)?;
    }
    voice.say("All graphs regenerated successfully!");
    voice.say(format!("Graphs saved to: {}", dir.display()));
    Ok(AppExit::Done)
}

/// Lines for a person, on stderr.
struct Voice(Arc<Console>);

impl Voice {
    fn say(&self, line: impl AsRef<str>) {
        self.0.write(&format!("{}\n", line.as_ref()));
    }
}

fn interrupted(voice: &Voice) -> AppExit {
    voice.say("Interrupted by user.");
    AppExit::Interrupted
}

/// Whether there is something to draw, and of the tool that was named.
fn check(data: &RunData, tool: Tool) -> Result<(), Failure> {
    if let Err(error) = demand_summary(data) {
        // A sustained run of the original working-set tool left periods and no summary.
        let only_periods = matches!(error, LoadError::NoSummary(_)) && !data.periods.is_empty();
        if !only_periods {
            let failure = Failure::run(error);
            return Err(if data.trace.is_some() {
                failure.with_hint(
                    "these are results of the trace replay tool, whose charts only that tool draws",
                )
            } else if !data.single_prompt.is_empty() {
                failure.with_hint(
                    "these are results of single_prompt_tester, which draws its charts itself",
                )
            } else {
                failure
            });
        }
    }
    // What an earlier run of the other tool left beside the newest summary does not matter.
    let sets: Vec<Option<u64>> = if data.summary.is_empty() {
        let tests = data.periods.keys();
        tests.map(|test| test.working_set_size).collect()
    } else {
        let rows = data.summary.iter();
        rows.map(|row| row.working_set_size).collect()
    };
    let file = data.summary_file.as_deref().unwrap_or("sustained_periods");
    let n_empty = sets.iter().filter(|set| set.is_none()).count();
    match tool {
        Tool::WorkingSet if n_empty > 0 && data.newest_summary_has("working_set_size") => {
            let (rows, have) = if n_empty == 1 {
                ("row", "has")
            } else {
                ("rows", "have")
            };
            Err(Failure::run(anyhow!(
                "{n_empty} {rows} of {file} {have} no working_set_size"
            ))
            .with_hint("fill in the cells or take the rows out"))
        }
        Tool::WorkingSet if sets.iter().any(Option::is_none) => Err(Failure::run(anyhow!(
            "{file} has no column working_set_size; this is no directory of working_set_tester"
        ))
        .with_hint("leave out --tool for results of cache_rate_tester")),
        Tool::CacheRate if sets.iter().any(Option::is_some) => Err(Failure::run(anyhow!(
            "{file} has a column working_set_size; this is no directory of cache_rate_tester"
        ))
        .with_hint("add --tool working_set")),
        Tool::WorkingSet | Tool::CacheRate => Ok(()),
    }
}

/// Says which files the charts come from, and what is missing.
fn tell_sources(data: &RunData, voice: &Voice) -> Result<(), Failure> {
    let dir: &Path = &data.dir;
    match &data.summary_file {
        Some(file) => {
            let path = dir.join(file);
            voice.say(format!("Loading summary from: {}", path.display()));
            voice.say(format!("Loaded {} test results", data.summary.len()));
        }
        None => voice.say(format!(
            "No summary_*.csv files found in {}; drawing the charts of the period files only",
            dir.display()
        )),
    }
    let files = ResultDir::open(dir)?.scan();
    let no_phases = files.of_kind(FileKind::Phases).next().is_none();
    if no_phases && data.periods.is_empty() {
        voice.say(format!(
            "Warning: No phase_metadata_*.csv files found in {}; points are summary values without a spread",
            dir.display()
        ));
    }
    let mut contexts: Vec<u64> = data.summary.iter().map(|row| row.context_size).collect();
    contexts.dedup();
    for context in contexts {
        match files.of_kind(FileKind::Detail(context)).next_back() {
            Some(file) => voice.say(format!(
                "Loading detailed results from: {}",
                file.path.display()
            )),
            None => voice.say(format!(
                "Warning: No detailed results found for context {context}"
            )),
        }
    }
    Ok(())
}
