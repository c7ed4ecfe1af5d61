//! Which prompts are sent ahead, when, and how.

use testkit::process::Finished;

use crate::scene::SUSTAINED;
use crate::support::process::Place;
use crate::support::server;

/// Numbers of the prompts that were sent ahead, in order of their names.
fn warmed(server: &sim::Background) -> Vec<u32> {
    let number = |request: &sim::ReceivedRequest| {
        let text = server::text(request);
        let number = text
            .strip_prefix("# PROMPT_")
            .and_then(|rest| rest.lines().next());
        number
            .and_then(|digits| digits.parse().ok())
            .expect("a number")
    };
    server::warm_ups(server).iter().map(number).collect()
}

/// How often each of the first prompts was sent ahead.
fn times(server: &sim::Background) -> Vec<usize> {
    let warmed = warmed(server);
    let n = warmed.iter().max().map_or(0, |most| most + 1);
    (0..n)
        .map(|i| warmed.iter().filter(|w| **w == i).count())
        .collect()
}

// Sizes of 2 and 4 prompts, rates 0 and 100: four tests, two windows each.
const FOUR: &str = "--cache-hit-rates 0 100 --num-retries 1";

#[test]
fn a_size_is_warmed_before_each_of_its_tests() {
    let server = server::swift();
    let place = Place::new();
    place.quick(&server, FOUR).run().exits(0);
    assert_eq!(times(&server), [4, 4, 2, 2]);
    for request in server::warm_ups(&server) {
        assert_eq!(request.max_tokens, Some(1));
        // The prompt alone: what is measured has a question behind an empty line.
        assert!(!server::text(&request).contains("\n\n"));
    }
    place.output().assert_valid();
}

/// How often each prompt was sent ahead in four tests with this strategy.
fn times_with(strategy: &str) -> Vec<usize> {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, FOUR)
        .args(["--reinit-strategy", strategy])
        .run()
        .exits(0);
    place.output().assert_valid();
    times(&server)
}

#[test]
fn once_sends_each_prompt_once() {
    assert_eq!(times_with("once"), [1, 1, 1, 1]);
}

#[test]
fn per_test_sends_the_set_before_every_window() {
    assert_eq!(times_with("per_test"), [8, 8, 4, 4]);
}

/// A run in which the set grows, and the server it spoke to.
fn grown(strategy: &str) -> (sim::Background, Place, Finished) {
    let server = server::swift();
    let place = Place::new();
    let run = place
        .tool(SUSTAINED)
        .args(["--init-strategy", strategy, "--api-endpoint", &server.url()])
        .run()
        .exits(0);
    (server, place, run)
}

// Example 11.
#[test]
fn a_growing_set_is_warmed_at_its_first_size_or_whole() {
    for (strategy, n, line) in [
        ("min", 2, "Added 2 new prompts (cache misses)"),
        ("max", 8, "Activated 2 pre-warmed prompts"),
    ] {
        let (server, place, run) = grown(strategy);
        let _ = run.says(line);
        assert_eq!(times(&server), vec![1; n], "{strategy}");
        place.output().assert_valid();
    }
}

#[test]
fn what_joins_cold_misses_the_cache_once_and_what_joins_warm_does_not() {
    let cold_requests = |strategy: &str| {
        let (server, _place, _run) = grown(strategy);
        let missed = |r: &&sim::ReceivedRequest| r.cached_tokens.is_some_and(|n| n < 256);
        server::measured(&server).iter().filter(missed).count()
    };
    assert_eq!(cold_requests("max"), 0);
    // Six prompts join; of each the requests that came before its first one had ended may miss, too.
    let n = cold_requests("min");
    assert!((6..=12).contains(&n), "{n}");
}
