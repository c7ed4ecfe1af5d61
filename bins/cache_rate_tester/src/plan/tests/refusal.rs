//! What makes no plan, and what is said of it.

use super::*;

#[test]
fn each_refusal_names_option_value_and_remedy() {
    let cases = [
        (
            "--context-sizes 0",
            "--context-sizes 0 is out of range: give 1 to 1000000000000 tokens",
        ),
        (
            "--context-sizes 8000 -5",
            "--context-sizes -5 is out of range: give 1 to 1000000000000 tokens",
        ),
        (
            "--working-set-size 0",
            "--working-set-size 0 is out of range: give 1 to 1000000000000 tokens",
        ),
        (
            "--output-tokens 0",
            "--output-tokens 0 is out of range: give 1 to 1000000000000 tokens",
        ),
        (
            "--chunk-size 0",
            "--chunk-size 0 is out of range: give 1 to 1000000000000 tokens",
        ),
        (
            "--max-ttft 0",
            "--max-ttft 0 is out of range: give seconds above 0",
        ),
        (
            "--max-ttft -1",
            "--max-ttft -1 is out of range: give seconds above 0",
        ),
        (
            "--min-tokens-per-req 0",
            "--min-tokens-per-req 0 is out of range: give tokens/s above 0",
        ),
        (
            "--test-duration 0",
            "--test-duration 0 is out of range: give 1 to 1000000000 seconds",
        ),
        (
            "--ramp-duration 0",
            "--ramp-duration 0 is out of range: give 1 to 1000000000 seconds",
        ),
        (
            "--assessment-period 0",
            "--assessment-period 0 is out of range: give 1 to 1000000000 seconds",
        ),
        (
            "--num-retries -1",
            "--num-retries -1 is out of range: give 0 to 1000000 windows",
        ),
        (
            "--cooldown -0.5",
            "--cooldown -0.5 is out of range: give 0 to 1000000000 seconds",
        ),
        (
            "--start-concurrency 0",
            "--start-concurrency 0 is out of range: give 1 to 1000000 requests in flight",
        ),
        (
            "--concurrency-increment 0",
            "--concurrency-increment 0 is out of range: give 1 to 1000000 requests in flight",
        ),
        (
            "--max-concurrency 0",
            "--max-concurrency 0 is out of range: give 1 to 1000000 requests in flight",
        ),
        (
            "--init-concurrency 0",
            "--init-concurrency 0 is out of range: give 1 to 1000000 requests in flight",
        ),
        (
            "--cache-hit-rates 120",
            "--cache-hit-rates 120 is out of range: give 0 to 100 percent",
        ),
        (
            "--cache-hit-rates 0 -1",
            "--cache-hit-rates -1 is out of range: give 0 to 100 percent",
        ),
        (
            "--fixed-concurrency-levels 2 0",
            "--fixed-concurrency-levels 0 is out of range: give 1 to 1000000 requests in flight",
        ),
        (
            "--seed 18446744073709551616",
            "--seed 18446744073709551616 is out of range: give -9223372036854775808 to 18446744073709551615 (any 64-bit number)",
        ),
        (
            "--request-timeout 0",
            "--request-timeout 0 is out of range: give seconds above 0",
        ),
        (
            "--start-concurrency 5 --max-concurrency 4",
            "--start-concurrency 5 is above --max-concurrency 4: lower the first or raise the second",
        ),
        (
            "--test-duration 30",
            "--test-duration 30 is shorter than --ramp-duration 60: raise the first or lower the second",
        ),
        (
            "--mode fixed --fixed-concurrency-levels 1 --test-duration 59",
            "--test-duration 59 is shorter than --ramp-duration 60: raise the first or lower the second",
        ),
        (
            "--mode sustained --test-duration 29",
            "--test-duration 29 is shorter than --assessment-period 30: raise the first or lower the second",
        ),
        (
            "--mode fixed",
            "--mode fixed needs --fixed-concurrency-levels: list the levels to measure, such as 2 4 8",
        ),
        (
            "--api-endpoint localhost:8000",
            "--api-endpoint: the endpoint \"localhost:8000\" has no scheme; write http://localhost:8000 or https://localhost:8000",
        ),
        (
            "--api-endpoint http://user:pass@host",
            "--api-endpoint: the endpoint holds a user name or password; pass credentials by --api-key or --header",
        ),
        (
            "--api-key a~b",
            "--api-key holds a character that no header can carry: use printable ASCII without blanks",
        ),
        (
            "--model ~",
            "--model '' is empty: give the name the server knows it by, or leave the option out",
        ),
        (
            "--tokenizer=",
            "--tokenizer '' is empty: give a directory, a model id or builtin, or leave the option out",
        ),
        (
            "--extra-body {top_p:1}",
            "--extra-body '{top_p:1}' is not JSON (key must be a string at line 1 column 2): give an object such as \
             '{\"top_p\": 0.9}'",
        ),
        (
            "--extra-body [1]",
            "--extra-body '[1]' is not a JSON object: give one such as '{\"top_p\": 0.9}'",
        ),
        (
            "--extra-body {\"max_tokens\":5}",
            "--extra-body sets \"max_tokens\", which the tool sets itself: use --output-tokens",
        ),
        (
            "--extra-body {\"stream\":false}",
            "--extra-body sets \"stream\", which the tool sets itself: latency can only be taken from a stream, leave it out",
        ),
    ];
    for (more, message) in cases {
        assert_eq!(refused(more), message, "{more}");
    }
}

#[test]
fn sustained_mode_does_not_look_at_the_ramp_duration() {
    assert_eq!(
        plan("--mode sustained --test-duration 30")
            .common
            .test_duration,
        secs(30)
    );
}
