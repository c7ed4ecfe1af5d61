//! What surrounds the tables: progress, metadata, the script, and names that belong together.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Validation;
use crate::data::RunData;
use crate::files::{DataFiles, FileKind};
use crate::metadata::{FACTS_FILE, METADATA_FILE};
use crate::progress::{PROGRESS_FILE, Progress, test_id};
use crate::stamp::{RunStamp, StampedFile};
use crate::test_name::TestName;

/// Keys of `parameters` that every reader may count on.
const PARAMETERS: [&str; 33] = [
    "api_endpoint",
    "api_endpoints",
    "context_sizes",
    "working_set_size",
    "output_tokens",
    "max_ttft",
    "ttft_metric",
    "min_tokens_per_req",
    "tokens_per_req_metric",
    "output_dir",
    "tokenizer_id",
    "test_duration",
    "ramp_duration",
    "assessment_period",
    "mode",
    "reinit_strategy",
    "random_selection",
    "num_retries",
    "start_concurrency",
    "concurrency_increment",
    "max_concurrency",
    "init_concurrency",
    "cache_hit_rates",
    "skip_graphs",
    "force_restart",
    "verbose",
    "chunk_size",
    "seed",
    "kv_cache_bytes",
    "strict_time_window",
    "fixed_concurrency_levels",
    "endpoint_selection",
    "detected_model",
];

pub(super) fn check(
    data: &RunData,
    listing: &[StampedFile],
    files: &DataFiles,
    found: &mut Validation,
) {
    // What the tolerant reader could not use of the JSON files.
    let json = [PROGRESS_FILE, METADATA_FILE, FACTS_FILE];
    for warning in &data.warnings {
        if json.contains(&warning.file.as_str()) {
            found.errors.push(warning.clone());
        }
    }
    let present = super::names(listing);
    for name in json {
        if !present.contains(name) {
            found.error(name, "the file is missing");
        }
    }
    if data.metadata.as_ref().is_some_and(|m| m.model.is_empty()) {
        found.error(METADATA_FILE, "no model is named");
    }
    if let Some(progress) = &data.progress {
        check_progress(progress, data, found);
    }
    check_scripts(files, found);
}

fn check_progress(progress: &Progress, data: &RunData, found: &mut Validation) {
    for key in PARAMETERS {
        // The working-set tool keeps a list in place of the one size.
        let has_list =
            key == "working_set_size" && progress.parameters.contains_key("working_set_sizes");
        if !progress.parameters.contains_key(key) && !has_list {
            found.error(PROGRESS_FILE, format!("parameters lack {key}"));
        }
    }
    let first = progress
        .parameters
        .get("api_endpoints")
        .and_then(|v| v.get(0));
    if progress.parameters.get("api_endpoint") != first {
        found.error(
            PROGRESS_FILE,
            "api_endpoint is not the first of api_endpoints",
        );
    }
    if progress.test_id != test_id(&progress.parameters) {
        found.error(
            PROGRESS_FILE,
            "the test_id does not belong to the parameters",
        );
    }
    let mut complete: BTreeSet<TestName> = BTreeSet::new();
    for entry in &progress.completed_tests {
        match entry.parse::<TestName>() {
            Err(error) => found.error(PROGRESS_FILE, format!("completed test {error}")),
            Ok(test) if !complete.insert(test) => {
                found.error(PROGRESS_FILE, format!("test {test} is listed twice"));
            }
            Ok(_) => {}
        }
    }
    let in_summary: BTreeSet<TestName> = data.summary.iter().map(TestName::from).collect();
    for test in complete.difference(&in_summary) {
        found.error(
            PROGRESS_FILE,
            format!("test {test} is listed as complete and has no summary row"),
        );
    }
    for test in in_summary.difference(&complete) {
        found.error(
            PROGRESS_FILE,
            format!("test {test} has a summary row and is not listed as complete"),
        );
    }
}

pub(super) fn check_scripts(files: &DataFiles, found: &mut Validation) {
    let scripts: Vec<&StampedFile> = files.of_kind(FileKind::RunCommand).collect();
    if scripts.is_empty() {
        found.error(
            "run_command_*.sh",
            "there is no script that repeats the run",
        );
    }
    for script in &scripts {
        if !is_executable(script) {
            found.error(&script.name, "the script is not executable");
        }
        let text = std::fs::read_to_string(&script.path).unwrap_or_default();
        if !text.starts_with("#!/bin/bash\n") {
            found.error(&script.name, "the script does not begin with #!/bin/bash");
        }
        if !text.ends_with("\"$@\"\n") {
            found.error(&script.name, "the script does not end with \"$@\"");
        }
        let command = text.lines().filter(|line| !line.starts_with('#'));
        for line in command {
            for flag in ["--api-key", "--force-restart"] {
                if line.trim_start().starts_with(flag) {
                    found.error(&script.name, format!("the script stores {flag}"));
                }
            }
        }
    }
    let of_runs: BTreeSet<&RunStamp> = scripts.iter().filter_map(|s| s.stamp.as_ref()).collect();
    for (_, file) in files.iter() {
        if let Some(stamp) = &file.stamp
            && !of_runs.contains(stamp)
        {
            found.error(
                &file.name,
                "no run has this time stamp, going by the run_command scripts",
            );
        }
    }
}

#[cfg(unix)]
fn is_executable(file: &StampedFile) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(&file.path).is_ok_and(|m| m.permissions().mode() & 0o111 == 0o111)
}

#[cfg(not(unix))]
fn is_executable(_file: &StampedFile) -> bool {
    true
}

/// Whether charts were wanted in this run.
pub(super) fn wants_charts(data: &RunData) -> bool {
    data.parameter("skip_graphs") != Some(&Value::Bool(true))
}
