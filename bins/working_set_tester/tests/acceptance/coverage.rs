//! `--ensure-working-set-coverage`: all of the set is sent, however long it takes.

use std::collections::BTreeSet;

use crate::scene::{SUSTAINED, periods};
use crate::support::process::Place;
use crate::support::server;

/// Numbers of the working-set prompts among these requests.
fn prompts<'a>(requests: impl IntoIterator<Item = &'a sim::ReceivedRequest>) -> BTreeSet<u32> {
    requests
        .into_iter()
        .map(|request| {
            let text = server::text(request);
            let number = text
                .strip_prefix("# PROMPT_")
                .and_then(|rest| rest.lines().next());
            number
                .and_then(|digits| digits.parse().ok())
                .unwrap_or_else(|| panic!("no working-set prompt: {text:.40}"))
        })
        .collect()
}

// Example 9: two in flight, each 0.3 s long, launch some 7 requests in the second that the window was to last.
#[test]
fn a_window_goes_on_until_every_prompt_was_sent() {
    let server = server::start(server::fixed(0.3));
    let place = Place::new();
    for order in ["", "--random-working-set-selection --force-restart"] {
        let before = server.generations().len();
        place
            .quick(
                &server,
                "--min-working-set-size 8192 --max-working-set-size 8192 --ensure-working-set-coverage \
                 --num-retries 1",
            )
            .args(order.split_whitespace())
            .run()
            .exits(0)
            .says("Extending for working set coverage: ")
            .says("/8,192 input tokens");
        let output = place.output();
        let phases = output.phases();
        let launched = phases.numbers("num_requests_launched");
        assert!(launched.iter().all(|n| *n >= 16.0), "{launched:?}");
        let durations = phases.numbers("duration");
        assert!(durations.iter().all(|d| *d > 1.5), "{durations:?}");
        let requests = server.generations().split_off(before);
        for run in ["FIXED_c2_run0_r", "FIXED_c2_run1_r"] {
            let of_run = requests
                .iter()
                .filter(|r| server::request_id(r).starts_with(run));
            assert_eq!(prompts(of_run), (0..16).collect(), "{run}");
        }
        output.assert_valid();
    }
}

#[test]
fn without_the_option_a_window_ends_on_time() {
    let server = server::start(server::fixed(0.3));
    let place = Place::new();
    place
        .quick(
            &server,
            "--min-working-set-size 8192 --max-working-set-size 8192",
        )
        .run()
        .exits(0)
        .never_says("Extending");
    let launched = place.output().phases().numbers("num_requests_launched");
    assert!(launched.iter().all(|n| *n < 16.0), "{launched:?}");
}

// 8 prompts at the end, two in flight, each 0.4 s long: 1.6 s for all of them, at 8 prompts in the last second.
#[test]
fn a_growing_set_waits_until_each_of_its_sizes_was_sent() {
    let server = server::start(server::fixed(0.4));
    let place = Place::new();
    place
        .tool(SUSTAINED)
        .args([
            "--ensure-working-set-coverage",
            "--api-endpoint",
            &server.url(),
        ])
        .run()
        .exits(0)
        .says("Extending for working set coverage: ")
        .never_says("was not reached");
    let output = place.output();
    let table = periods(&output, 512, 4096, 100);
    assert!(table.rows.len() > 4, "{} periods", table.rows.len());
    assert_eq!(table.texts("working_set_size").last().unwrap(), "4096");
    assert_eq!(prompts(&server::measured(&server)), (0..8).collect());
    output.assert_valid();
}
