//! Progress files: identity, comparison, saving and loading.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// What the newest original writes, with the defaults it had.
fn base() -> Map<String, Value> {
    map(json!({
        "api_endpoints": ["http://localhost:8000"], "context_sizes": [1000],
        "working_set_size": 8000, "output_tokens": 16, "max_ttft": 0.45, "ttft_metric": "p95",
        "min_tokens_per_req": null, "tokens_per_req_metric": "avg", "output_dir": "./output",
        "tokenizer_id": "t", "test_duration": 16, "ramp_duration": 3, "assessment_period": 30,
        "mode": "ramp", "reinit_strategy": "once", "random_selection": false, "num_retries": 1,
        "start_concurrency": 2, "concurrency_increment": 2, "max_concurrency": 1000,
        "init_concurrency": 16, "cache_hit_rates": [0, 50], "skip_graphs": false,
        "force_restart": false, "verbose": false, "chunk_size": 256, "seed": 42,
        "kv_cache_bytes": 2, "strict_time_window": false, "fixed_concurrency_levels": null,
        "endpoint_selection": "round-robin"
    }))
}

fn check(then: Value, now: Value, expected: &[&str]) {
    let merge = |changes: Value| {
        let mut parameters = base();
        for (key, value) in map(changes) {
            // "absent" stands for a key that the file lacks.
            if value == json!("absent") {
                parameters.shift_remove(&key);
            } else {
                parameters.insert(key, value);
            }
        }
        parameters
    };
    let label = format!("{then} against {now}");
    let result = Progress::new(merge(then)).matches(&merge(now), &ResumeRules::CACHE_RATE);
    let expected = if expected.is_empty() {
        ParameterMatch::Match
    } else {
        ParameterMatch::Mismatch(expected.iter().map(|key| (*key).to_owned()).collect())
    };
    assert_eq!(result, expected, "{label}");
}

#[test]
fn parameters_are_compared_by_what_they_mean() {
    check(json!({}), json!({}), &[]);
    // What does not influence a measurement.
    check(json!({}), json!({"context_sizes": [1000, 2000]}), &[]);
    check(
        json!({"output_dir": "a", "force_restart": true, "verbose": true}),
        json!({"output_dir": "b", "skip_graphs": true, "kv_cache_bytes": 1, "detected_model": "m"}),
        &[],
    );
    // What does.
    check(json!({}), json!({"output_tokens": 8}), &["output_tokens"]);
    check(json!({}), json!({"seed": null}), &["seed"]);
    check(
        json!({}),
        json!({"cache_hit_rates": [0, 50, 100]}),
        &["cache_hit_rates"],
    );
    check(
        json!({"seed": 1, "mode": "fixed"}),
        json!({"chunk_size": 16}),
        &["chunk_size", "mode", "seed"],
    );
    // Order and repetition of sets, number types.
    check(json!({}), json!({"cache_hit_rates": [50, 0, 50]}), &[]);
    check(
        json!({"test_duration": 16.0}),
        json!({"max_ttft": 0.45}),
        &[],
    );
    check(
        json!({"seed": 9_007_199_254_740_993_u64}),
        json!({"seed": 9_007_199_254_740_992_u64}),
        &["seed"],
    );
}

// The pages of the two tools differ: one leaves the model out of the comparison, the other lists what is left out, and
// the model is not in the list.
#[test]
fn another_model_is_another_measurement_of_the_working_set_tool_only() {
    let of = |model: Value| {
        let Value::Object(parameters) = json!({"seed": 1, "detected_model": model}) else {
            unreachable!("an object was written")
        };
        parameters
    };
    let (then, now) = (Progress::new(of(json!("a"))), of(json!("b")));
    assert_eq!(
        then.matches(&now, &ResumeRules::WORKING_SET),
        ParameterMatch::Mismatch(vec!["detected_model".to_owned()])
    );
    assert_eq!(
        then.matches(&now, &ResumeRules::CACHE_RATE),
        ParameterMatch::Match
    );
    // The originals wrote no model.
    let unknown = Progress::new(of(Value::Null));
    assert_eq!(
        unknown.matches(&now, &ResumeRules::WORKING_SET),
        ParameterMatch::Match
    );
}

#[test]
fn missing_keys_count_as_their_defaults() {
    check(json!({"mode": "absent"}), json!({}), &[]);
    check(json!({"mode": "adaptive"}), json!({}), &[]);
    check(
        json!({"mode": "absent"}),
        json!({"mode": "sustained"}),
        &["mode"],
    );
    check(
        json!({"tokens_per_req_metric": "absent", "min_tokens_per_req": "absent",
               "assessment_period": "absent", "fixed_concurrency_levels": "absent",
               "endpoint_selection": "absent"}),
        json!({}),
        &[],
    );
    check(
        json!({"num_retries": "absent"}),
        json!({}),
        &["num_retries"],
    );
    check(
        json!({"num_retries": "absent"}),
        json!({"num_retries": 3}),
        &[],
    );
    check(
        json!({"cache_hit_rates": "absent"}),
        json!({"cache_hit_rates": [0,5,10,15,20,25,30,35,40,45,50,55,60,65,70,75,80,85,90,95,100]}),
        &[],
    );
    // An option no version knew: absent equals null and nothing else.
    check(
        json!({}),
        json!({"ignore_eos": false, "later_option": null}),
        &[],
    );
    check(json!({}), json!({"ignore_eos": true}), &["ignore_eos"]);
    check(json!({}), json!({"later_option": 1}), &["later_option"]);
}

#[test]
fn a_tool_whose_sets_vary_has_rules_of_its_own() {
    let compare = |then: Value, now: Value, rules: &ResumeRules| {
        let (mut before, mut after) = (base(), base());
        before.extend(map(then));
        after.extend(map(now));
        Progress::new(before).matches(&after, rules)
    };
    let differs = |key: &str| ParameterMatch::Mismatch(vec![key.to_owned()]);
    let levels = |list: [u32; 3]| json!({"mode": "fixed", "fixed_concurrency_levels": list});
    for (rules, of_order, of_warm_up) in [
        (
            ResumeRules::CACHE_RATE,
            ParameterMatch::Match,
            differs("init_concurrency"),
        ),
        (
            ResumeRules::WORKING_SET,
            differs("fixed_concurrency_levels"),
            ParameterMatch::Match,
        ),
    ] {
        let order = compare(levels([8, 2, 4]), levels([2, 4, 8]), &rules);
        assert_eq!(order, of_order);
        let repeated = compare(levels([8, 2, 8]), levels([8, 2, 2]), &rules);
        assert_eq!(repeated, ParameterMatch::Match);
        let warm_up = compare(json!({}), json!({"init_concurrency": 4}), &rules);
        assert_eq!(warm_up, of_warm_up);
    }
    // What the originals did not write down counts as its default.
    let ours = json!({
        "working_set_sizes": [10, 20], "working_set_increments": 2, "plateau_detection": "off",
        "ensure_working_set_coverage": false, "init_strategy": "min"
    });
    let theirs = json!({"working_set_sizes": [10, 20]});
    let rules = &ResumeRules::WORKING_SET;
    assert_eq!(compare(theirs.clone(), ours, rules), ParameterMatch::Match);
    let three = json!({"working_set_sizes": [10, 20], "working_set_increments": 3});
    assert_eq!(
        compare(theirs.clone(), three, rules),
        differs("working_set_increments")
    );
    let max = json!({"working_set_sizes": [10, 20], "init_strategy": "max"});
    assert_eq!(compare(theirs, max, rules), differs("init_strategy"));
}

#[test]
fn one_endpoint_equals_a_list_of_one() {
    let old = json!({"api_endpoints": "absent", "api_endpoint": "http://localhost:8000"});
    check(old.clone(), json!({}), &[]);
    check(
        old.clone(),
        json!({"api_endpoint": "http://localhost:8000"}),
        &[],
    );
    check(
        old.clone(),
        json!({"api_endpoints": ["http://localhost:8000/"]}),
        &[],
    );
    check(
        old.clone(),
        json!({"api_endpoints": ["http://a", "http://b"]}),
        &["api_endpoints"],
    );
    check(
        old,
        json!({"api_endpoints": ["http://a"]}),
        &["api_endpoints"],
    );
    check(json!({"api_endpoints": []}), json!({}), &["api_endpoints"]);
}

#[test]
fn thresholds_are_compared_as_they_take_effect() {
    check(json!({"max_ttft": null}), json!({"max_ttft": 2.0}), &[]);
    check(json!({"max_ttft": null}), json!({"max_ttft": 2}), &[]);
    check(
        json!({"max_ttft": "absent"}),
        json!({"max_ttft": 2.5}),
        &["max_ttft"],
    );
    check(
        json!({"max_ttft": null, "mode": "fixed"}),
        json!({"max_ttft": 2.0, "mode": "fixed"}),
        &["max_ttft"],
    );
    check(
        json!({"max_ttft": null, "min_tokens_per_req": 5.0}),
        json!({"max_ttft": 2.0, "min_tokens_per_req": 5}),
        &["max_ttft"],
    );
}

/// The expected digits were computed by CPython 3 (`hashlib.md5(json.dumps(p, sort_keys=True)…)`).
#[test]
fn the_test_id_is_the_one_the_originals_compute() {
    let parameters = map(json!({
        "tokenizer_id": "größe", "api_endpoint": "http://localhost:8000", "context_sizes": [1000],
        "max_ttft": 0.5, "seed": null, "skip_graphs": false
    }));
    assert_eq!(test_id(&parameters), "0c2e7a5e7e9b1333");
}

/// Whatever the order of insertion, equal parameters have equal ids and match; a changed value changes
/// the id.
#[test]
fn ids_follow_the_content() {
    proptest!(|(mut entries in prop::collection::btree_map("[a-z]{1,8}", 0i64..1000, 1..12), by in 1i64..9)| {
        let forward: Map<_, _> = entries.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let backward: Map<_, _> = entries.iter().rev().map(|(k, v)| (k.clone(), json!(v))).collect();
        prop_assert_eq!(test_id(&forward), test_id(&backward));
        prop_assert_eq!(Progress::new(forward.clone()).matches(&backward, &ResumeRules::CACHE_RATE), ParameterMatch::Match);
        let first = entries.keys().next().unwrap().clone();
        *entries.get_mut(&first).unwrap() += by;
        let changed: Map<_, _> = entries.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        prop_assert_ne!(test_id(&changed), test_id(&forward));
    });
}

#[test]
fn a_saved_file_reads_back_and_keeps_the_order_of_keys() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Progress::load(dir.path()).unwrap().is_none());
    let mut progress = Progress::new(base());
    progress.mark_complete(&TestName::new(8000, 25));
    progress.mark_complete(&TestName::new(1000, 0));
    progress.mark_complete(&TestName::new(8000, 25));
    assert_eq!(progress.begin_attempt(&TestName::new(1000, 50)), 0);
    assert_eq!(progress.begin_attempt(&TestName::new(1000, 50)), 1);
    progress.save(dir.path()).unwrap();
    let loaded = Progress::load(dir.path()).unwrap().unwrap();
    assert_eq!(loaded, progress);
    assert_eq!(loaded.completed_tests, ["8000_25", "1000_0"]);
    assert_eq!(loaded.attempts["1000_50"], 2);
    assert!(loaded.is_complete(&TestName::new(1000, 0)));
    assert!(!loaded.is_complete(&TestName::new(1000, 50)));
    let text = std::fs::read_to_string(dir.path().join(PROGRESS_FILE)).unwrap();
    assert!(text.starts_with("{\n  \"test_id\": \""), "{text}");
    let stamp = loaded.last_update;
    let shape: String = stamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000+00:00");
}

#[test]
fn entries_of_other_contexts_survive_new_parameters() {
    let mut progress = Progress::new(base());
    progress.mark_complete(&TestName::new(9999, 0));
    let mut now = base();
    now.insert("context_sizes".into(), json!([2000]));
    progress.adopt(now.clone());
    assert_eq!(progress.completed_tests, ["9999_0"]);
    assert_eq!(progress.test_id, test_id(&now));
}

#[test]
fn what_is_no_progress_file_is_an_error_that_names_it() {
    for text in [
        "",
        "{bad",
        "[]",
        "{\"parameters\": {}}",
        "{\"parameters\": 3, \"completed_tests\": []}",
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PROGRESS_FILE), text).unwrap();
        let error = Progress::load(dir.path()).unwrap_err();
        assert!(error.to_string().contains(PROGRESS_FILE), "{error}");
    }
}
