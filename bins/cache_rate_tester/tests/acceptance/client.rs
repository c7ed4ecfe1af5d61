//! What the tool says of its own part in what it measured.

use testkit::busy;

use crate::support::process::Place;
use crate::support::server;

/// First tokens take a second and every other one a tenth: by 50 ms, and by 5 ms a token, the client may be off. What
/// else runs beside these tests may do that to it, and then it says so rightly; three times in a row it does not.
#[test]
fn a_client_that_nothing_disturbs_marks_nothing() {
    let _undisturbed = busy::undisturbed();
    let server = server::start(server::linear(1.0, 0.1));
    let undisturbed = (0..3).any(|_| {
        let place = Place::new();
        let run = place
            .quick(
                &server,
                "--calibrate auto --brief --mode fixed --fixed-concurrency-levels 1 --ramp-duration 4 --num-retries 0",
            )
            .run()
            .exits(0);
        let output = place.output();
        let health = output.newest("client_health_");
        let marks = [
            output.summary().texts("client_limited"),
            output.phases().texts("client_limited"),
            health.texts("client_limited"),
        ];
        let is_marked = marks.concat().contains(&"true".to_owned());
        // Where one place says it, all do.
        assert_eq!(run.stdout.contains("client_limited: 1000@0%"), is_marked);
        assert_eq!(
            output
                .all_doubts(1000, 0)
                .contains(&"client_limited".to_owned()),
            is_marked
        );
        assert_eq!(health.distinct("calibrated_level"), ["1".to_owned()].into());
        if !is_marked {
            assert_eq!(marks.concat(), ["false"; 3]);
        }
        !is_marked
    });
    assert!(undisturbed, "a client is marked that has nothing to do");
}

#[test]
fn a_busy_core_under_the_client_marks_the_result_with_a_calibration_and_without() {
    let server = server::swift();
    for calibrate in ["auto", "off"] {
        let arguments = format!("--calibrate {calibrate} --client-threads 1 --brief");
        let place = Place::new();
        let run = busy::on_a_busy_core(|| place.quick(&server, &arguments).run()).exits(0);
        let output = place.output();
        let health = output.newest("client_health_");
        assert_eq!(
            output.summary().texts("client_limited"),
            ["true"],
            "{health:?}"
        );
        assert!(
            output
                .phases()
                .texts("client_limited")
                .contains(&"true".to_owned())
        );
        let doubts = output.all_doubts(1000, 0);
        assert!(doubts.iter().any(|kind| kind == "client_limited"));
        assert!(
            run.stdout.contains("client_limited: 1000@0%"),
            "{}",
            run.stdout
        );
        assert_eq!(
            health.texts("phase_id").len(),
            output.phases().texts("phase_id").len()
        );
        assert!(!health.texts("limited_by").concat().is_empty());
        // A person who looks at the pages sees it, beside what was planned and what was held.
        let page = output.read("client_health.html");
        for words in [
            "Limited by the Client",
            "Requests in Flight",
            "Error of TTFT",
        ] {
            assert!(page.contains(words), "no {words}");
        }
        assert!(
            output
                .read("index.html")
                .contains("href=\"client_health.html\"")
        );
        output.assert_valid();
    }
}

#[test]
fn several_runtimes_carry_the_requests_and_the_error_of_each_level_is_measured() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--calibrate auto --client-threads 3 --mode fixed --fixed-concurrency-levels 1 7 --cache-hit-rates 0 100 --ramp-duration 1")
        .run()
        .exits(0);
    let output = place.output();
    assert_eq!(
        output.names_like("failed_requests_", ".csv"),
        Vec::<String>::new()
    );
    output
        .detail(1000)
        .assert_unique(&["cache_hit_rate", "request_id"]);
    let facts = output.json("run_facts.json");
    assert_eq!(facts["sections"]["client"]["threads"], 3);
    let calibrations = facts["sections"]["client"]["calibrations"]
        .as_array()
        .expect("a list");
    let levels: Vec<u64> = calibrations
        .iter()
        .filter_map(|c| c["concurrency"].as_u64())
        .collect();
    assert_eq!(levels, [1, 7]);
    for calibration in calibrations {
        let at = |key: &str| calibration[key].as_f64().expect("a number");
        assert!(at("ttft_error_p50") > 0.0 && at("itl_error_p50") >= 0.0);
        // As many are planned at any level; a busy machine may be late with some.
        let is_enough = at("n_requests") >= 20.0;
        assert_eq!(calibration["ttft_error_p99"].is_number(), is_enough);
        if is_enough {
            assert!(at("ttft_error_p50") <= at("ttft_error_p99"));
            assert!(at("itl_error_p50") <= at("itl_error_p99"));
        }
    }
    let health = output.newest("client_health_");
    assert_eq!(
        health.distinct("calibrated_level"),
        ["1".to_owned(), "7".to_owned()].into()
    );
    let of_facts = calibrations.iter().map(|c| c["n_requests"].to_string());
    assert_eq!(health.distinct("calibrated_requests"), of_facts.collect());
    assert_eq!(
        health.distinct("calibrated_over"),
        ["http/1.1".to_owned()].into()
    );
    for (held, planned) in health
        .numbers("achieved_in_flight")
        .iter()
        .zip(health.numbers("concurrency_level"))
    {
        assert!(*held > 0.0 && *held <= planned, "{held} of {planned}");
    }
    // From the intended send it takes at least as long as from the actual one.
    let summary = output.summary();
    for (intended, sent) in summary
        .numbers("avg_ttft_from_intended")
        .iter()
        .zip(summary.numbers("avg_ttft"))
    {
        assert!(*intended >= sent, "{intended} {sent}");
    }
    output.assert_valid();
}

#[test]
fn a_study_over_http_2_says_that_its_error_is_that_of_http_1() {
    let server = server::swift();
    let place = Place::new();
    let arguments = "--calibrate auto --http 2 --num-retries 0";
    let run = place.quick(&server, arguments).run().exits(0);
    run.says("the client's error is that over plain http/1.1: what HTTP/2 cost it is not in it");
    let facts = place.output().json("run_facts.json");
    let client = &facts["sections"]["client"];
    assert_eq!(client["calibrated_over"], "http/1.1");
    assert_eq!(client["not_calibrated"], serde_json::json!(["HTTP/2"]));
}

#[test]
fn without_a_calibration_nothing_runs_behind_the_study() {
    let server = server::swift();
    let place = Place::new();
    let run = place.quick(&server, "--calibrate off").run().exits(0);
    assert!(
        !run.stderr.contains("the client's own error"),
        "{}",
        run.stderr
    );
    let output = place.output();
    assert_eq!(
        output.json("run_facts.json")["sections"]["client"]["calibrations"],
        serde_json::json!([])
    );
    let health = output.newest("client_health_");
    assert_eq!(health.distinct("calibrated_level"), [String::new()].into());
    // What the runtimes felt is there all the same, and judged by.
    assert!(health.numbers("lag_p99").iter().all(|lag| *lag > 0.0));
    for marks in [
        health.texts("client_limited"),
        output.phases().texts("client_limited"),
        output.summary().texts("client_limited"),
    ] {
        assert!(
            marks.iter().all(|mark| mark == "true" || mark == "false"),
            "{marks:?}"
        );
    }
    assert_eq!(
        health.texts("client_limited"),
        output.phases().texts("client_limited")
    );
}

#[test]
fn periods_carry_the_marks_of_the_clients_own_file() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(
            &server,
            "--calibrate auto --mode sustained --assessment-period 1 --test-duration 3 --max-ttft 2",
        )
        .run()
        .exits(0);
    let output = place.output();
    let health = output.newest("client_health_");
    assert_eq!(health.rows.len(), 3);
    let periods = output.newest("sustained_periods_ctx1000_cache0_");
    assert_eq!(
        periods.texts("client_limited"),
        health.texts("client_limited")
    );
    output.assert_valid();
}

#[test]
fn a_signal_during_the_calibration_ends_the_run_as_one_during_the_study_does() {
    let server = server::swift();
    let place = Place::new();
    // Two lengths of prompts: the calibration lasts two seconds.
    let run = place
        .quick(&server, "--calibrate auto --context-sizes 500 1000")
        .start();
    run.wait_for("Measuring the client's own error");
    run.signal("TERM");
    run.finish()
        .exits(143)
        .says("Test interrupted by user. Progress has been saved.");
    let output = place.output();
    assert_eq!(output.completed(), ["500_0", "1000_0"]);
    assert_eq!(output.summary().rows.len(), 2);
    let health = output.newest("client_health_");
    assert!(!health.rows.is_empty());
    // The shorter prompts may have been measured; the longer ones were not, and are not judged by the shorter ones' error.
    let facts = output.json("run_facts.json");
    let missing = facts["sections"]["client"]["without_calibration"].clone();
    let missing = missing.as_array().expect("a list");
    assert!(missing.iter().all(|m| m["reason"] == "the run was stopped"));
    let last = missing.last().expect("the level that was stopped");
    assert_eq!(last["context_size"], 1000);
    let contexts = health.texts("context_size");
    for (context, level) in contexts.iter().zip(health.texts("calibrated_level")) {
        assert!(context != "1000" || level.is_empty(), "{level:?}");
    }
    output.assert_valid();
}

/// Half of the slots of such a level found no descriptor, and the windows were judged by the other level.
#[test]
fn a_level_whose_calibration_has_no_room_is_studied_and_judged_by_what_was_felt() {
    let server = server::swift();
    let place = Place::new();
    // For 60 requests in flight there is room, for their server in the same process there is none.
    let shell = r#"ulimit -n 150; exec "$0" "$@""#;
    let arguments =
        "--mode fixed --fixed-concurrency-levels 2 60 --init-concurrency 2 --num-retries 0";
    let run = place
        .program("sh")
        .args(["-c", shell, crate::tool::BINARY])
        .args(crate::tool::QUICK.split_whitespace())
        .args(["--api-endpoint", &server.url()])
        .args(arguments.split_whitespace())
        .run()
        .exits(0)
        .says("levels above 43 in flight get no error of the client's own; raise the limit (ulimit -n)")
        .says("the client's own error at concurrency 60 with 1000 tokens was not measured: client and server together");
    assert_eq!(run.stderr.matches("was not measured").count(), 1);
    let output = place.output();
    let facts = output.json("run_facts.json");
    let client = &facts["sections"]["client"];
    assert_eq!(client["calibrations"][0]["concurrency"], 2);
    assert_eq!(client["calibrations"][1], serde_json::Value::Null);
    let missing = &client["without_calibration"][0];
    assert_eq!(missing["concurrency"], 60);
    assert_eq!(missing["remedy"], "raise the limit (ulimit -n)");
    let health = output.newest("client_health_");
    let levels: Vec<(String, String)> = health
        .texts("concurrency_level")
        .into_iter()
        .zip(health.texts("calibrated_level"))
        .collect();
    assert!(
        levels.contains(&("2".to_owned(), "2".to_owned())),
        "{levels:?}"
    );
    assert!(
        levels.contains(&("60".to_owned(), String::new())),
        "{levels:?}"
    );
    output.assert_valid();
}
