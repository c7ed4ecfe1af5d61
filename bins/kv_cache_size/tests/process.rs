//! The real binary: exit codes and channels, the user's own commands, and the ways a config can be had or not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use serde_json::{Value, json};

const LLAMA: &str = r#"{"model_type": "llama", "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "hidden_size": 8192}"#;

/// A command in an empty directory that can reach no hub and knows no cache.
fn tool(dir: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("kv_cache_size"));
    command.current_dir(dir).env_clear();
    command
        .env("HOME", dir)
        .env("HF_HUB_OFFLINE", "1")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

/// A directory with a model of this config.
fn model(dir: &Path, name: &str, config: &str) -> PathBuf {
    let model = dir.join(name);
    fs::create_dir_all(&model).expect("a directory can be made");
    fs::write(model.join("config.json"), config).expect("a file can be written");
    model
}

#[test]
fn a_local_plain_model_is_reported_as_the_original_did() {
    let dir = scratch();
    model(dir.path(), "llama", LLAMA);
    let expected = include_str!("data/original_report.txt")
        .replace("meta-llama/Llama-3.3-70B-Instruct", "llama");
    tool(dir.path())
        .arg("llama")
        .assert()
        .code(0)
        .stdout(expected)
        .stderr(is_empty());
}

#[test]
fn the_commands_of_the_users_page_run_and_say_where_the_numbers_come_from() {
    let dir = scratch();
    let id = "meta-llama/Llama-3.3-70B-Instruct";
    for words in [
        vec![id],
        vec!["--precision", "fp16", id],
        vec!["--batch-size", "4", id],
        vec!["--custom-tokens", "5000", "50000", "500000", id],
    ] {
        tool(dir.path())
            .args(&words)
            .assert()
            .code(0)
            .stdout(
                contains("built-in table")
                    .and(contains("Layers: 80"))
                    .and(contains("the Hub is switched off")),
            )
            .stderr(starts_with("warning: ").and(contains("built-in table")));
    }
}

#[test]
fn the_list_of_counts_ends_at_the_model() {
    let dir = scratch();
    model(dir.path(), "m", LLAMA);
    tool(dir.path())
        .args(["--custom-tokens", "5000", "50000", "500000", "m"])
        .assert()
        .code(0)
        .stdout(
            contains("📏 5,000 tokens:")
                .and(contains("📏 50,000 tokens:"))
                .and(contains("📏 500,000 tokens:"))
                .and(contains("📏 1,000 tokens:").not()),
        );
}

#[test]
fn a_config_may_be_named_by_directory_file_or_any_json_file() {
    let dir = scratch();
    let model = model(dir.path(), "m", LLAMA);
    fs::copy(model.join("config.json"), dir.path().join("copy.json"))
        .expect("a file can be copied");
    for given in ["m", "./m", "m/config.json", "copy.json"] {
        tool(dir.path())
            .args([given, "--custom-tokens", "1"])
            .assert()
            .code(0)
            .stdout(contains("Total:     163,840 bytes"));
    }
}

/// Wrong arguments: exit 2, usage and the words on stderr, nothing on stdout.
#[track_caller]
fn refused(words: &[&str], message: &str) {
    let dir = scratch();
    tool(dir.path())
        .args(words)
        .assert()
        .code(2)
        .stdout(is_empty())
        .stderr(
            starts_with("usage: kv_cache_size [OPTIONS] MODEL_ID\n")
                .and(contains(format!("kv_cache_size: error: {message}"))),
        );
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_printed() {
    refused(&[], "the following arguments are required: model_id\n");
    refused(
        &["m", "--precision", "int9"],
        "argument --precision: invalid choice: 'int9' (choose from 'fp8', 'fp16', ",
    );
    refused(
        &["m", "--batch-size", "x"],
        "argument --batch-size: invalid int value: 'x'\n",
    );
    refused(
        &["m", "--batch-size", "0"],
        "argument --batch-size: must be from 1",
    );
    refused(
        &["m", "--custom-tokens", "-1"],
        "argument --custom-tokens: must be from 0",
    );
    refused(&["m", "n"], "unrecognized arguments: n\n");
    let dir = scratch();
    tool(dir.path())
        .args(["m", "--precison", "fp16"])
        .assert()
        .code(2)
        .stdout(is_empty())
        .stderr(contains("did you mean '--precision'"));
}

#[test]
fn ranks_and_layouts_that_the_model_does_not_have_are_wrong_arguments() {
    let dir = scratch();
    model(dir.path(), "m", LLAMA);
    tool(dir.path())
        .args(["m", "--tp", "3"])
        .assert()
        .code(2)
        .stderr(contains(
            "error: argument --tp: 64 attention heads cannot be split over 3 ranks",
        ));
    tool(dir.path())
        .args(["m", "--kv-scales", "ds-mla"])
        .assert()
        .code(2)
        .stderr(contains("the ds-mla layout is for MLA"));
}

#[test]
fn help_and_version_go_to_stdout() {
    let dir = scratch();
    tool(dir.path())
        .arg("-h")
        .assert()
        .code(0)
        .stdout(starts_with(
            "Calculate KV cache memory requirements for LLM models",
        ))
        .stderr(is_empty());
    tool(dir.path())
        .arg("--version")
        .assert()
        .code(0)
        .stdout(starts_with("kv_cache_size "));
}

#[test]
fn an_unknown_id_offline_fails_on_both_channels() {
    let dir = scratch();
    tool(dir.path())
        .arg("nobody/no-such-model")
        .assert()
        .code(1)
        .stdout(
            contains("❌ Failed to download model config: ")
                .and(contains(
                    "\n\nPlease verify:\n  1. Model ID is correct: nobody/no-such-model\n",
                ))
                .and(contains("  3. Model exists on HuggingFace Hub\n")),
        )
        .stderr(starts_with("error: "));
    for given in ["./nothing-here", "a/b/c"] {
        tool(dir.path())
            .arg(given)
            .assert()
            .code(1)
            .stdout(contains("looks like a path, but nothing is there"));
    }
}

#[test]
fn a_config_that_is_not_understood_names_what_is_missing() {
    let dir = scratch();
    model(
        dir.path(),
        "m",
        r#"{"model_type": "mystery", "num_hidden_layers": 3, "hidden_size": 64}"#,
    );
    tool(dir.path())
        .arg("m")
        .assert()
        .code(1)
        .stdout(
            contains("❌ Could not extract all required parameters")
                .and(contains("  num_layers: 3\n  hidden_size: 64\n"))
                .and(contains(
                    "Missing parameters - please check model config manually",
                )),
        )
        .stderr(contains("num_key_value_heads").and(contains("mystery")));
    model(dir.path(), "broken", "{");
    tool(dir.path())
        .arg("broken")
        .assert()
        .code(1)
        .stderr(contains("is not JSON"));
}

#[test]
fn json_is_one_object_on_stdout_and_errors_leave_stdout_empty() {
    let dir = scratch();
    model(dir.path(), "m", LLAMA);
    let output = tool(dir.path())
        .args(["m", "--json", "--memory", "80GiB", "--tier", "dram:1TiB"])
        .assert()
        .code(0)
        .stderr(is_empty())
        .get_output()
        .stdout
        .clone();
    let object: Value = serde_json::from_slice(&output).expect("stdout is JSON");
    assert_eq!(object["requirements"][0]["total_bytes"], 163_840);
    assert_eq!(
        object["fits"][0]["longest_request_tokens"],
        (80_u64 << 30) / 163_840
    );
    assert_eq!(object["fits"][1]["tier"], "dram");
    tool(dir.path())
        .args(["nobody/nothing", "--json"])
        .assert()
        .code(1)
        .stdout(is_empty())
        .stderr(starts_with("error: "));
}

/// A hub that answers every request with this status and these headers.
fn hub(status: &'static str, headers: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("http://{address}")
}

#[test]
fn a_gated_model_is_answered_from_the_table_or_the_token_is_asked_for() {
    let dir = scratch();
    let endpoint = hub("401 Unauthorized", "x-error-code: GatedRepo\r\n", "");
    let run = |id: &str| {
        let mut command = tool(dir.path());
        command
            .env_remove("HF_HUB_OFFLINE")
            .env("HF_ENDPOINT", &endpoint);
        command.env("NO_PROXY", "127.0.0.1").arg(id);
        command.assert()
    };
    run("meta-llama/Llama-3.3-70B-Instruct")
        .code(0)
        .stdout(contains(
            "the model is gated (401); a token in HF_TOKEN is needed: using the built-in table",
        ));
    run("nobody/gated-model")
        .code(1)
        .stdout(contains("the model is gated").and(contains("HF_TOKEN")));
}

#[test]
fn a_config_from_the_hub_is_read_and_a_hub_that_is_down_is_said() {
    let dir = scratch();
    let config = r#"{"model_type": "gpt2"}"#;
    let endpoint = hub(
        "200 OK",
        "etag: \"abc\"\r\nx-repo-commit: 0123456789012345678901234567890123456789\r\n",
        config,
    );
    let run = |endpoint: &str, id: &str| {
        let mut command = tool(dir.path());
        command
            .env_remove("HF_HUB_OFFLINE")
            .env("HF_ENDPOINT", endpoint);
        command.env("NO_PROXY", "127.0.0.1").args([
            id,
            "--precision",
            "fp16",
            "--custom-tokens",
            "1",
        ]);
        command.assert()
    };
    run(&endpoint, "some/gpt2")
        .code(0)
        .stdout(contains("Total:     36,864 bytes"));
    // Nothing listens on port 9 of loopback; a downloaded config is in the cache, a known model in the table.
    run("http://127.0.0.1:9", "some/gpt2")
        .code(0)
        .stdout(contains("Total:     36,864 bytes"));
    run("http://127.0.0.1:9", "openai-community/gpt2")
        .code(0)
        .stdout(contains(
            "the Hub cannot be reached: using the built-in table",
        ));
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let dir = scratch();
    model(dir.path(), "m", LLAMA);
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("kv_cache_size"));
    let mut child = command
        .current_dir(dir.path())
        .arg("m")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the binary ends");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty());
}

#[cfg(unix)]
#[test]
fn ctrl_c_during_a_download_ends_with_130() {
    // A hub that accepts and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let endpoint = format!(
        "http://{}",
        listener
            .local_addr()
            .expect("a bound socket has an address")
    );
    let dir = scratch();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("kv_cache_size"))
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .env("HF_ENDPOINT", endpoint)
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("HF_HUB_OFFLINE")
        .arg("some/model")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // The connection is the sign that the handler stands: it is set before anything is asked.
    let connection = listener.accept().expect("the binary connects");
    testkit::process::signal(child.id(), "INT");
    let status = child.wait().expect("the binary ends");
    drop(connection);
    assert_eq!(status.code(), Some(130));
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("it was piped")
        .read_to_string(&mut stdout)
        .expect("stdout is text");
    assert!(stdout.ends_with("\n\nInterrupted by user\n"), "{stdout}");
}

#[test]
fn every_model_of_the_table_can_be_asked_for_offline() {
    let dir = scratch();
    for row in kvcalc::known::all() {
        let id = &row.ids[0];
        tool(dir.path())
            .args([id.as_str(), "--json"])
            .assert()
            .code(0)
            .stdout(contains(json!("built_in_table").to_string()));
    }
}
