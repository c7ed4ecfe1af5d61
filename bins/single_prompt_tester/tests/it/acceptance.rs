//! The examples of the tool's page, with their numbers.

use serde_json::json;

use crate::mock::{Mock, SUFFIX, content, refusal, stream, usage};
use crate::tool::{Place, quick};

// Example 1.
#[test]
fn without_arguments_the_missing_one_is_named_and_nothing_is_written() {
    let place = Place::new();
    let run = place.run("").exits(2);
    let run = run.says("the following arguments are required: --api-endpoint");
    assert_eq!(run.stdout, "");
    assert!(place.names(".").is_empty(), "{:?}", place.names("."));
}

// Example 2.
#[test]
fn a_word_in_place_of_a_number_is_refused() {
    let place = Place::new();
    place
        .run("--api-endpoint http://127.0.0.1:1 --num-iterations two")
        .exits(2)
        .says("argument --num-iterations: invalid int value: 'two'");
    assert!(place.names(".").is_empty());
}

// Example 3.
#[test]
fn the_report_for_scripts_has_a_line_per_size_and_the_block() {
    let server = Mock::caching();
    let place = Place::new();
    let run = place
        .quick(&server.url(), "--context-sizes 400 200 --brief --seed 11")
        .exits(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("[200] unique=0.0"), "{}", run.stdout);
    assert!(lines[1].starts_with("[400] unique=0.0"), "{}", run.stdout);
    assert_eq!(lines[2], "");
    assert_eq!(
        lines[3..6],
        [
            "=".repeat(60).as_str(),
            "RESULTS SUMMARY",
            "=".repeat(60).as_str()
        ]
    );
    assert_eq!(
        lines[6..10],
        [
            "model: mock-model".to_owned(),
            format!("endpoint: {}", server.url()),
            "seed: 11".to_owned(),
            "output: out".to_owned(),
        ]
    );
    assert_eq!(lines.len(), 16, "{}", run.stdout);
    // The rows of the table repeat the numbers of the lines above.
    for (line, row) in lines[..2].iter().zip(&lines[13..]) {
        let numbers = |text: &str| -> Vec<String> {
            let is_part = |c: char| c.is_ascii_digit() || c == '.';
            let words = text.split(|c| !is_part(c)).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        assert_eq!(numbers(line), numbers(row));
    }
    assert_eq!(place.rows().rows.len(), 4);
    place.assert_valid();
    for name in [
        "index.html",
        "single_prompt_performance.html",
        "summary_table.html",
    ] {
        assert!(place.names("out").contains(&name.to_owned()), "{name}");
    }
    assert_eq!(place.json("metadata.json")["seed"], 11);
    assert_eq!(
        place.json("metadata.json")["context_sizes"],
        json!([200, 400])
    );
}

// Example 4.
#[test]
fn batches_of_two_that_are_repeated_twice() {
    let server = Mock::caching();
    let place = Place::new();
    place.quick(&server.url(), "-n 2 -r 2").exits(0);
    let rows = place.rows();
    assert_eq!(
        rows.texts("prompt_type"),
        [
            "unique",
            "unique",
            "cached_r1",
            "cached_r1",
            "cached_r2",
            "cached_r2"
        ]
    );
    assert_eq!(rows.texts("prompt_index"), ["0", "1", "0", "1", "0", "1"]);
    place.assert_valid();
    let table = place.read("summary_table.html");
    let document = roxmltree::Document::parse_with_options(
        &table,
        roxmltree::ParsingOptions {
            allow_dtd: true,
            ..roxmltree::ParsingOptions::default()
        },
    )
    .unwrap();
    let texts = |tag: &str| -> Vec<String> {
        let cells = document.descendants().filter(|node| node.has_tag_name(tag));
        cells
            .map(|node| node.text().unwrap_or_default().to_owned())
            .collect()
    };
    let column = texts("th")
        .iter()
        .position(|name| name == "Iterations")
        .unwrap();
    assert_eq!(texts("td")[column], "2");
}

// Example 5.
#[test]
fn every_row_is_one_request_with_exactly_the_published_keys() {
    let server = Mock::caching();
    let place = Place::new();
    place
        .quick(
            &server.url(),
            "-n 2 -r 2 --num-iterations 2 --output-tokens 17",
        )
        .exits(0);
    let seen = server.seen();
    assert_eq!(seen.bodies.len(), 1 + place.rows().rows.len());
    let first = seen.json(0);
    assert_eq!(first["max_tokens"], 1);
    assert!(!content(&first).contains("story"));
    for n in 1..seen.bodies.len() {
        let body = seen.json(n);
        let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "model",
                "messages",
                "max_tokens",
                "temperature",
                "stream",
                "stream_options"
            ]
        );
        assert_eq!(body["model"], "mock-model");
        assert_eq!(
            body["messages"],
            json!([{"role": "user", "content": content(&body)}])
        );
        assert_eq!(
            (&body["max_tokens"], &body["stream"]),
            (&json!(17), &json!(true))
        );
        assert_eq!(body["stream_options"], json!({"include_usage": true}));
        // An integer, not 0.0.
        assert_eq!(body["temperature"].to_string(), "0");
        assert!(content(&body).ends_with(SUFFIX));
        let head = seen.heads[n].to_ascii_lowercase();
        for line in [
            "authorization: bearer empty",
            "content-type: application/json",
            "accept: application/json",
        ] {
            assert!(head.contains(line), "{head}");
        }
    }
    // The repetitions are byte for byte the cold requests.
    for iteration in seen.bodies[1..].chunks(6) {
        let sorted = |part: &[Vec<u8>]| {
            let mut part = part.to_vec();
            part.sort();
            part
        };
        assert_eq!(sorted(&iteration[..2]), sorted(&iteration[2..4]));
        assert_eq!(sorted(&iteration[..2]), sorted(&iteration[4..]));
    }
}

// Example 6. Requests are spaced by the server alone, so the bounds are those of a busy machine, not of the tool.
#[test]
fn the_first_measured_request_pays_for_nothing_but_its_prompt() {
    let _undisturbed = testkit::busy::undisturbed();
    let server = Mock::caching();
    let place = Place::new();
    place.quick(&server.url(), "--num-iterations 8").exits(0);
    let rows = place.rows();
    let mut cold: Vec<f64> = Vec::new();
    let mut cached: Vec<f64> = Vec::new();
    for (kind, ttft) in rows.texts("prompt_type").iter().zip(rows.numbers("ttft")) {
        if *kind == "unique" {
            cold.push(ttft)
        } else {
            cached.push(ttft)
        }
    }
    assert!(cold.iter().all(|ttft| *ttft >= 0.05) && cached.iter().all(|ttft| *ttft >= 0.01));
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let first = cold[0];
    let (cold, cached) = (median(cold), median(cached));
    assert!(
        (2.5..6.0).contains(&(cold / cached)),
        "{cold} against {cached}"
    );
    // Opening a connection and starting a client took the original 170 ms.
    assert!(first < cold + 0.06, "{first} against {cold}");
    // One connection is opened ahead and serves all requests, the one for the model included.
    assert!(
        server.seen().n_connections <= 2,
        "{}",
        server.seen().n_connections
    );
}

// Example 7.
#[test]
fn without_usage_the_run_completes_and_says_so_once() {
    let server = Mock::start(|asked| {
        stream(
            if asked.is_known { 0.005 } else { 0.02 },
            &["Once", " upon", " a", " time"],
            None,
        )
    });
    let place = Place::new();
    let run = place
        .quick(&server.url(), "--context-sizes 200 300 --num-iterations 2")
        .exits(0);
    assert_eq!(
        run.stderr
            .matches("the server sent no token counts")
            .count(),
        1
    );
    let rows = place.rows();
    assert!(
        rows.texts("token_counts")
            .iter()
            .all(|word| *word == "local")
    );
    let planned: Vec<f64> = rows.numbers("prompt_tokens");
    assert!(planned[0] > 200.0 && planned[0] < 212.0, "{planned:?}");
    assert!(rows.numbers("completion_tokens").iter().all(|n| *n >= 1.0));
    assert!(place.read("index.html").contains("sent no token counts"));
}

// Example 8.
#[test]
fn a_prompt_that_is_too_long_costs_its_size_and_no_other() {
    let server = Mock::start(|asked| {
        if asked.n_words() > 250 {
            return refusal(
                "400 Bad Request",
                "This model's maximum context length is 250 tokens.",
            );
        }
        stream(0.005, &["Once", " upon"], Some(usage(asked.body, None)))
    });
    let place = Place::new();
    let run = place
        .quick(
            &server.url(),
            "--context-sizes 100 200 400 --num-iterations 3 --brief",
        )
        .exits(1);
    let rows = place.rows();
    assert_eq!(rows.texts("context_size").len(), 12);
    assert!(!rows.texts("context_size").contains(&"400"));
    // One try, and the rest of the size is left out.
    assert_eq!(server.seen().bodies.len(), 1 + 12 + 1);
    let failed = place.failed(400);
    assert_eq!(
        (failed.texts("kind"), failed.texts("status")),
        (vec!["status"], vec!["400"])
    );
    assert!(
        failed.texts("message")[0].contains("maximum context length"),
        "{:?}",
        failed.rows
    );
    let run = run
        .says("refuses prompts of 400 tokens (status 400)")
        .says("maximum context length");
    assert!(
        run.stdout
            .contains("\n[400] unique=n/a cached=n/a speedup=n/a\n"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("\n       400 |          n/a |          n/a |      n/a\n"),
        "{}",
        run.stdout
    );
    let metadata = place.json("metadata.json");
    assert_eq!(metadata["failed_requests"], 1);
    assert_eq!(metadata["unsent_requests"], 5);
    place.assert_valid();
    assert_eq!(metadata["interrupted"], false);
}

// Example 9.
#[test]
fn a_range_without_a_size_is_refused_at_once() {
    let place = Place::new();
    place
        .run("--api-endpoint http://127.0.0.1:1 --min-tokens 500 --max-tokens 100")
        .exits(2)
        .says("Invalid parameter range: min-tokens (500) must be <= max-tokens (100)");
    place
        .run("--api-endpoint http://127.0.0.1:1 --min-tokens 0")
        .exits(2);
    assert!(place.names(".").is_empty());
}

// Example 10.
#[test]
fn a_seed_repeats_every_prompt_and_no_two_begin_alike() {
    let sent = |seed: &str| {
        let server = Mock::caching();
        let more = format!("--context-sizes 100 200 400 -n 3 --num-iterations 3 {seed}");
        Place::new().quick(&server.url(), &more).exits(0);
        let mut prompts = server.seen().prompts();
        prompts.sort();
        prompts.dedup();
        prompts
    };
    let (one, again, other, drawn) = (
        sent("--seed 5"),
        sent("--seed 5"),
        sent("--seed 6"),
        sent(""),
    );
    assert_eq!(one.len(), 27);
    assert_eq!(one, again);
    let tokenizer = workload::TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
    let mut beginnings = std::collections::BTreeSet::new();
    for prompt in one.iter().chain(&other).chain(&drawn) {
        let mut ids = tokenizer.encode(prompt);
        ids.truncate(16);
        assert!(beginnings.insert(ids), "two prompts begin alike: {prompt}");
    }
}

// Example 11.
#[test]
fn an_endpoint_may_name_the_version_and_end_in_a_slash() {
    let server = Mock::caching();
    for tail in ["/v1/", "/v1", "/", ""] {
        let place = Place::new();
        let url = format!("{}{tail}", server.url());
        place.quick(&url, "").exits(0);
        assert_eq!(place.rows().rows.len(), 2, "{url}");
    }
}

// Example 12.
#[test]
fn ctrl_c_after_the_first_size_keeps_its_rows() {
    let server = Mock::start(|asked| {
        let is_first = asked.n < 4;
        stream(
            if is_first { 0.005 } else { 100.0 },
            &["Once", " upon"],
            Some(usage(asked.body, None)),
        )
    });
    let place = Place::new();
    let run = place.start(&quick(
        &server.url(),
        "--context-sizes 100 200 --num-iterations 2",
    ));
    run.wait_for("Testing context size: 200 tokens");
    run.wait_until("the second size's request", || {
        server.seen().bodies.len() == 6
    });
    run.signal("INT");
    let run = run.finish().exits(130).says("Interrupted by user.");
    let run = run.never_says("complete!");
    assert!(run.took.as_secs() < 60, "{:?}", run.took);
    let rows = place.rows();
    assert_eq!(rows.texts("context_size"), ["100"; 4]);
    assert_eq!(place.json("metadata.json")["interrupted"], true);
    assert_eq!(place.failed(200).texts("kind"), ["cancelled"]);
    place.assert_valid();
    assert!(place.names("out").contains(&"index.html".to_owned()));
}

/// The originals' rows, for their columns.
const GOLDEN: &str = include_str!(
    "../../../../crates/metrics/tests/data/single_prompt/single_prompt_results_20261122_011030.csv"
);

#[test]
fn the_files_begin_as_the_originals() {
    let server = Mock::caching();
    let place = Place::new();
    place.quick(&server.url(), "").exits(0);
    let golden: Vec<&str> = GOLDEN.lines().next().unwrap().split(',').collect();
    let rows = place.rows();
    assert_eq!(rows.columns[..golden.len()], golden);
    let added = [
        "reported_cached_tokens",
        "prompt_index",
        "token_counts",
        "matches_cold_text",
        "send_delay",
        "dial_time",
    ];
    assert_eq!(rows.columns[golden.len()..], added);
    let text = place.read("metadata.json");
    assert!(
        text.starts_with("{\n  \"test_type\": \"single_prompt\",\n") && text.ends_with("\n}"),
        "{text}"
    );
    let metadata = place.json("metadata.json");
    let keys: Vec<&str> = metadata
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
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
            "verdicts",
        ]
    );
}

/// The validator that the tests above rely on finds what is wrong.
#[test]
fn a_directory_that_was_tampered_with_is_not_valid() {
    let server = Mock::caching();
    let place = Place::new();
    place
        .quick(&server.url(), "-n 2 --num-iterations 2")
        .exits(0);
    place.assert_valid();
    let csv = place
        .names("out")
        .into_iter()
        .find(|name| name.ends_with(".csv"))
        .unwrap();
    let rows = place.read(&csv);
    let line = |n: usize| rows.lines().nth(n).unwrap().to_owned();
    for (name, content, said) in [
        (
            &*csv,
            rows.replacen(&line(2), "", 1),
            "8 requests were planned, and 7 are rows",
        ),
        (&*csv, rows.replacen(&line(2), &line(1), 1), "stands twice"),
        (
            &*csv,
            rows.replacen(&format!("{}\n{}\n", line(1), line(2)), "", 1),
            "was never sent cold before",
        ),
        (
            &*csv,
            rows.replacen("200,1,", "200,7,", 1),
            "was not asked for",
        ),
        (
            &*csv,
            rows.replacen("200,0,", "201,0,", 1),
            "no test of 201 tokens was asked for",
        ),
        (
            &*csv,
            rows.replacen(",cached,", ",cached_r1,", 1),
            "was not asked for",
        ),
        (
            "metadata.json",
            place
                .read("metadata.json")
                .replace("\"failed_requests\": 0", "\"failed_requests\": 1"),
            "failed_requests is 1, the files have 0",
        ),
        (
            "metadata.json",
            place.read("metadata.json").replace("seed", "sead"),
            "the keys are not",
        ),
        ("run_facts.json", "{".to_owned(), "run_facts.json"),
        (
            "index.html",
            place
                .read("index.html")
                .replace("summary_table.html", "x.html"),
            "summary_table.html is linked 0 times",
        ),
    ] {
        let path = place.path().join("out").join(name);
        let before = std::fs::read(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let validation = report::validate::validate(&place.path().join("out"));
        assert!(
            validation.to_string().contains(said),
            "no {said:?} in {validation}"
        );
        std::fs::write(&path, before).unwrap();
    }
    place.assert_valid();
}
