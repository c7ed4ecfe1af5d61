//! What stands on stdout, and the script that repeats a run.

use crate::scene::SUSTAINED;
use crate::support::output::Table;
use crate::support::process::Place;
use crate::support::server;

/// The report as the page's grammar describes it, made from the CSV.
fn expected_report(server: &sim::Background, summary: &Table, rates: &str) -> String {
    let several = rates.contains(',');
    let mut report = format!(
        "model: {}\nendpoint: {}\ncache_rate: {rates}\n\n\
         context_size,working_set,requests,input_tokens,output_tokens,input_tps,output_tps,avg_ttft,p95_ttft,concurrency",
        server::MODEL,
        server.url()
    );
    report += if several { ",cache_hit_rate\n" } else { "\n" };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in 0..summary.rows.len() {
        // Exactly half goes to the even neighbour, as in the tool and in Python.
        let whole = |name: &str| format!("{:.0}", summary.numbers(name)[row]);
        let millis = |name: &str| format!("{:.3}", summary.numbers(name)[row]);
        let mut cells = vec![
            whole("context_size"),
            whole("working_set_size"),
            whole("total_requests"),
            whole("total_input_tokens"),
            whole("total_output_tokens"),
            whole("input_tokens_per_sec"),
            whole("output_tokens_per_sec"),
            millis("avg_ttft"),
            millis("p95_ttft"),
            whole("peak_concurrency"),
        ];
        if several {
            cells.push(whole("cache_hit_rate"));
        }
        rows.push(cells);
    }
    // By context, size and rate; the files are in the order of the tests.
    let number = |text: &String| text.parse::<u64>().expect("a whole number");
    rows.sort_by_key(|r| (number(&r[0]), number(&r[1]), r.get(10).map(number)));
    for row in rows {
        report += &row.join(",");
        report += "\n";
    }
    let total = |name: &str| summary.numbers(name).iter().sum::<f64>().round() as i64;
    report
        + &format!(
            "\ntotal_requests: {}\ntotal_input_tokens: {}\ntotal_output_tokens: {}\n\noutput: ./output\n",
            total("total_requests"),
            total("total_input_tokens"),
            total("total_output_tokens")
        )
}

// Example 14.
#[test]
fn brief_prints_exactly_the_report_in_every_mode() {
    let server = server::swift();
    for (arguments, more, rates) in [
        (crate::tool::QUICK, "", "100"),
        (crate::tool::QUICK, "--cache-hit-rates 100 50", "50,100"),
        (
            crate::tool::QUICK,
            "--mode ramp --max-ttft 1 --max-concurrency 2",
            "100",
        ),
        (SUSTAINED, "--test-duration 2", "100"),
    ] {
        let place = Place::new();
        let run = || {
            place
                .tool(arguments)
                .args(more.split_whitespace())
                .args(["--brief", "--api-endpoint", &server.url()])
                .run()
                .exits(0)
        };
        let first = run();
        let output = place.output();
        assert_eq!(
            first.stdout,
            expected_report(&server, &output.summary(), rates),
            "{more}"
        );
        assert!(!first.stderr.contains(" INFO - "), "{}", first.stderr);
        // Nothing left to do: the same report again.
        assert_eq!(run().stdout, first.stdout);
        output.assert_valid();
    }
}

#[test]
fn a_run_without_a_result_reports_zeros_and_fails() {
    let mut config = server::linear(0.01, 0.002);
    config.faults = sim::FaultPlan::of("500".parse().expect("a fault"));
    let server = server::start(config);
    let place = Place::new();
    let run = place.quick(&server, "--brief").run().exits(1);
    assert!(
        run.stdout.ends_with(
            "concurrency\n\ntotal_requests: 0\ntotal_input_tokens: 0\ntotal_output_tokens: 0\n\noutput: ./output\n"
        ),
        "{}",
        run.stdout
    );
    assert!(place.output().completed().is_empty());
}

#[test]
fn the_script_reproduces_the_configuration_in_every_mode() {
    let server = server::swift();
    for (arguments, more) in [
        (
            crate::tool::QUICK,
            "--fixed-concurrency-levels 3 1 --ensure-working-set-coverage --seed 5 --chunk-size 128 --ttft-metric max",
        ),
        (
            crate::tool::QUICK,
            "--mode ramp --max-concurrency 2 --reinit-strategy once --random-working-set-selection",
        ),
        (
            SUSTAINED,
            "--init-strategy max --plateau-detection window --test-duration 2 --min-tokens-per-req 0.5",
        ),
    ] {
        let place = Place::new();
        place
            .tool(arguments)
            .args(more.split(' '))
            .args(["--api-endpoint", &server.url()])
            .run()
            .exits(0);
        let output = place.output();
        let script = output.names_like("run_command_", ".sh").remove(0);
        let (old, completed) = (output.parameters(), output.completed());
        let before = server.generations().len();
        place.repeat(&script);
        let mut new = output.parameters();
        new["force_restart"] = old["force_restart"].clone();
        assert_eq!(new, old);
        assert_eq!(output.completed(), completed);
        assert!(server.generations().len() > before);
        let command = |name: &str| {
            let text = output.read(name);
            let (_, command) = text.split_once("\n\n").expect("comments, then the command");
            command.to_owned()
        };
        let scripts = output.names_like("run_command_", ".sh");
        assert_eq!(command(&scripts[0]), command(&scripts[1]));
        // And without more it goes on, which here is nothing.
        let before = server.generations().len();
        place
            .program("bash")
            .args([&format!("output/{script}")])
            .run()
            .exits(0);
        assert_eq!(server.generations().len(), before);
        output.assert_valid();
    }
}

#[test]
fn the_script_is_told_before_the_server_is_asked() {
    let place = Place::new();
    let run = place
        .tool(crate::tool::QUICK)
        // Nobody listens on the port of discard.
        .args(["--api-endpoint", "http://127.0.0.1:9"])
        .run()
        .exits(1)
        .says(" ERROR - Fatal error: Could not detect model from http://127.0.0.1:9/v1/models")
        .says("Saved run command to ./output/run_command_")
        .says("To re-run this test: bash ./output/run_command_")
        .says("Initializing components...");
    let log = place.log();
    assert!(log.contains(" ERROR - Fatal error: "), "{log}");
    assert_eq!(run.stdout, "");
}

#[test]
fn a_rate_is_told_once_and_pages_when_they_are_new() {
    let server = server::swift();
    let place = Place::new();
    let run = place
        .quick(&server, "--context-sizes 512 1024")
        .run()
        .exits(0);
    assert_eq!(
        run.lines("Testing cache hit rate: 100%").len(),
        2,
        "one per context"
    );
    assert_eq!(run.lines("Testing working set size: ").len(), 4);
    let graphs = run.lines("Generated graph: ");
    let distinct: std::collections::BTreeSet<_> = graphs.iter().collect();
    assert_eq!(distinct.len(), graphs.len(), "{graphs:?}");
    let told = |name: &str| graphs.iter().filter(|line| line.ends_with(name)).count();
    assert_eq!(told("/performance_vs_working_set_512.html"), 1);
    assert_eq!(told("/output_throughput_comparison.html"), 1);
}
