//! The real binary: exit codes, channels, and that wrong arguments leave no trace.

use testkit::refusal::CommandLine;

const TOOL: CommandLine<'_> = CommandLine {
    program: env!("CARGO_BIN_EXE_cache_rate_tester"),
    required: &[
        "--api-endpoint",
        "http://127.0.0.1:1",
        "--context-sizes",
        "1000",
        "--working-set-size",
        "8000",
    ],
};

#[test]
fn a_missing_option_is_named() {
    TOOL.assert_refused(
        &TOOL.required[..4],
        "cache_rate_tester: error: the following arguments are required: --working-set-size\n",
    );
}

#[test]
fn a_mistyped_option_gets_a_suggestion() {
    TOOL.assert_refused_behind(
        &["--api-edpoint", "http://localhost:8000"],
        "did you mean '--api-endpoint'",
    );
}

#[test]
fn syntax_errors_print_usage_and_one_line() {
    TOOL.assert_syntax_errors();
}

#[test]
fn semantic_errors_print_one_line() {
    TOOL.assert_one_line(
        &["--cache-hit-rates", "120", "--output-dir", "results"],
        "error: --cache-hit-rates 120 is out of range: give 0 to 100 percent",
    );
    TOOL.assert_refused_behind(&["--mode", "fixed"], "needs --fixed-concurrency-levels");
    TOOL.assert_refused_behind(
        &["--mode", "fixed", "--fixed-concurrency-levels", "0"],
        "out of range",
    );
    TOOL.assert_refused_behind(
        &["--start-concurrency", "5", "--max-concurrency", "4"],
        "is above --max-concurrency 4",
    );
}

#[test]
fn help_and_version_go_to_stdout() {
    TOOL.assert_help_and_version(
        &["--context-sizes <TOKENS>...", "Exit codes:"],
        env!("CARGO_PKG_VERSION"),
    );
}

#[test]
fn a_key_in_the_environment_is_not_shown_by_help() {
    TOOL.assert_hides_key();
}

#[test]
fn a_closed_stdout_is_no_error() {
    TOOL.assert_closed_stdout_is_no_error();
}
