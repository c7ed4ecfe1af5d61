//! A directory of `single_prompt_tester`: rows, failures and metadata tell the same story.

use std::collections::HashSet;

use metrics::schema::{FailedRow, RowReader};
use metrics::single_prompt::PromptKind;
use metrics::{FailureKind, SinglePromptRow};
use serde_json::{Map, Value};

use super::{Findings, Validation, names, run};
use crate::data::RunData;
use crate::data::open::for_each_row;
use crate::files::{DataFiles, FileKind};
use crate::metadata::{FACTS_FILE, SINGLE_PROMPT_FILE};
use crate::stamp::StampedFile;

/// Keys of `metadata.json`, in their order: the originals', then ours. `verdicts` follow when a run has ended.
const KEYS: [&str; 13] = [
    "test_type",
    "api_endpoint",
    "detected_model",
    "context_sizes",
    "num_iterations",
    "concurrent_prompts",
    "output_tokens",
    "seed",
    "cached_repeats",
    "tokenizer_id",
    "failed_requests",
    "unsent_requests",
    "interrupted",
];

/// Whether the directory says that it is one of these.
pub(super) fn is_one(data: &RunData) -> bool {
    let metadata = data.single_prompt_metadata.as_ref();
    metadata.is_some_and(|map| map.get("test_type") == Some(&Value::from("single_prompt")))
}

pub(super) fn check(
    data: &RunData,
    listing: &[StampedFile],
    files: &DataFiles,
    found: &mut Validation,
) {
    let json = [SINGLE_PROMPT_FILE, FACTS_FILE];
    for warning in data.warnings.iter().filter(|w| json.contains(&&*w.file)) {
        found.errors.push(warning.clone());
    }
    if !names(listing).contains(FACTS_FILE) {
        found.error(FACTS_FILE, "the file is missing");
    }
    run::check_scripts(files, found);
    let Some(metadata) = &data.single_prompt_metadata else {
        return;
    };
    let keys: Vec<&str> = metadata.keys().map(String::as_str).collect();
    if !keys.starts_with(&KEYS) {
        found.error(
            SINGLE_PROMPT_FILE,
            format!("the keys are not {} in this order", KEYS.join(", ")),
        );
        return;
    }
    let Some(file) = files.of_kind(FileKind::SinglePrompt).next_back() else {
        found.error("single_prompt_results_*.csv", "there is no file of rows");
        return;
    };
    let plan = Plan::of(metadata);
    check_rows(
        &plan,
        &data.single_prompt,
        &mut Findings::of(found, &file.name),
    );
    check_counts(data, &plan, files, file, found);
    let has_pages = names(listing).contains("summary_table.html");
    if !has_pages && metadata.contains_key("verdicts") {
        found.warn(
            "summary_table.html",
            "the run has ended and there is no table",
        );
    }
}

/// What was to be sent.
struct Plan {
    sizes: HashSet<u64>,
    n_iterations: u64,
    n_prompts: u64,
    n_repeats: u64,
}

impl Plan {
    fn of(metadata: &Map<String, Value>) -> Self {
        let number = |key: &str| metadata.get(key).and_then(Value::as_u64).unwrap_or(0);
        let sizes = metadata.get("context_sizes").and_then(Value::as_array);
        Self {
            sizes: sizes
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64)
                .collect(),
            n_iterations: number("num_iterations"),
            n_prompts: number("concurrent_prompts"),
            n_repeats: number("cached_repeats"),
        }
    }

    fn n_requests(&self) -> u64 {
        (self.sizes.len() as u64) * self.n_iterations * self.n_prompts * (1 + self.n_repeats)
    }

    fn kinds(&self) -> HashSet<String> {
        let n = u32::try_from(self.n_repeats).unwrap_or(u32::MAX);
        std::iter::once(PromptKind::Unique)
            .chain((1..=n).map(|repeat| PromptKind::cached(repeat, n)))
            .map(|kind| kind.to_string())
            .collect()
    }
}

fn check_rows(plan: &Plan, rows: &[SinglePromptRow], findings: &mut Findings<'_>) {
    let kinds = plan.kinds();
    let mut seen = HashSet::new();
    for row in rows {
        let prompt = (row.context_size, row.iteration, row.prompt_index);
        let name = || {
            format!(
                "{} of prompt {} in iteration {} at {} tokens",
                row.prompt_type,
                row.prompt_index.unwrap_or_default(),
                row.iteration,
                row.context_size
            )
        };
        findings.expect(plan.sizes.contains(&row.context_size), || {
            format!("no test of {} tokens was asked for", row.context_size)
        });
        findings.expect(
            row.iteration < plan.n_iterations
                && row.prompt_index.is_some_and(|index| index < plan.n_prompts)
                && kinds.contains(&row.prompt_type),
            || format!("{} was not asked for", name()),
        );
        findings.expect(seen.insert((prompt, row.prompt_type.as_str())), || {
            format!("{} stands twice", name())
        });
        findings.expect(
            row.is_unique() || seen.contains(&(prompt, "unique")),
            || format!("{} was never sent cold before", name()),
        );
        findings.expect(row.is_cached() || row.matches_cold_text.is_none(), || {
            format!("{} is compared with itself", name())
        });
        findings.expect(row.ttft.is_some() && row.total_time.is_some(), || {
            format!("{} has no time", name())
        });
    }
}

/// Every planned request is a row, a failure or was not sent; of a run that was stopped some are missing.
fn check_counts(
    data: &RunData,
    plan: &Plan,
    files: &DataFiles,
    rows: &StampedFile,
    found: &mut Validation,
) {
    let number = |key| data.parameter(key).and_then(Value::as_u64).unwrap_or(0);
    let mut n_failed = 0;
    for context in files.failed_contexts() {
        for file in files.of_kind(FileKind::Failed(context)) {
            if file.stamp != rows.stamp {
                continue;
            }
            let mut warnings = Vec::new();
            for_each_row(file, &mut warnings, RowReader::new, |row: FailedRow| {
                n_failed += u64::from(row.kind != FailureKind::Cancelled);
            });
        }
    }
    if n_failed != number("failed_requests") {
        found.error(
            SINGLE_PROMPT_FILE,
            format!(
                "failed_requests is {}, the files have {n_failed}",
                number("failed_requests")
            ),
        );
    }
    let accounted = data.single_prompt.len() as u64 + n_failed + number("unsent_requests");
    let interrupted = data.parameter("interrupted") == Some(&Value::Bool(true));
    if accounted > plan.n_requests() || (!interrupted && accounted < plan.n_requests()) {
        found.error(
            SINGLE_PROMPT_FILE,
            format!(
                "{} requests were planned, and {accounted} are rows, failures or not sent",
                plan.n_requests()
            ),
        );
    }
}
