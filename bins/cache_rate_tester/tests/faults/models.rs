//! Servers that cannot say which model they serve: nothing is measured, and the line names `/v1/models`.

use std::time::Duration;

use testkit::process::Finished;

use crate::relay::{Act, Relay, dead_address};
use crate::scene::{STUDY, reads_well};
use crate::support::process::Place;

/// Runs the study against a URL and requires that it ends for want of a model, for this reason.
#[track_caller]
fn finds_no_model(url: &str, words: &[&str]) -> Finished {
    let place = Place::new();
    let end = place.run(&format!("--api-endpoint {url} {STUDY}")).exits(1);
    reads_well(&end);
    let error = end.lines("Fatal error: ");
    assert_eq!(error.len(), 1, "{}", end.stderr);
    let base = url.trim_end_matches("/v1");
    let start = format!("Fatal error: Could not detect model from {base}/v1/models: ");
    assert!(error[0].starts_with(&start), "{}", error[0]);
    // The cause follows at once and is not told twice.
    assert_eq!(
        error[0].to_lowercase().matches("could not detect").count(),
        1,
        "{}",
        error[0]
    );
    let told = [end.lines("Fatal error: "), end.lines("hint: ")].concat();
    assert!(told.len() <= 2, "{told:?}");
    let told = told.join("\n");
    for word in words {
        assert!(told.contains(word), "no '{word}' in:\n{told}");
    }
    let output = place.output();
    assert!(output.names_like("", ".csv").is_empty());
    assert!(!output.names().contains(&"progress.json".to_owned()));
    end
}

/// The same against a server that answers every request like this.
#[track_caller]
fn answers(act: Act, words: &[&str]) -> Finished {
    let relay = Relay::start(move |_| act.clone());
    finds_no_model(&relay.url(), words)
}

#[test]
fn nobody_at_the_endpoint() {
    let end = finds_no_model(
        &format!("http://{}", dead_address()),
        &["refused", "is the server running?", "--api-endpoint"],
    );
    assert!(end.took < Duration::from_secs(15), "{:?}", end.took);
}

#[test]
fn an_endpoint_given_with_v1_is_not_asked_for_v1_twice() {
    finds_no_model(&format!("http://{}/v1", dead_address()), &["refused"]);
}

#[test]
fn a_host_that_has_no_address() {
    finds_no_model(
        "http://no-such-host.invalid:8000",
        &[
            "cannot find the address of no-such-host.invalid",
            "check the host name",
        ],
    );
}

#[test]
fn models_answered_with_401() {
    let end = answers(
        Act::answer(
            "401 Unauthorized",
            "application/json",
            r#"{"error":{"message":"no key"}}"#,
        ),
        &["HTTP 401 Unauthorized: no key", "--api-key"],
    );
    // A server that is there need not be started, and without a key no request will do better.
    assert!(
        !end.stderr.contains("check that the server runs"),
        "{}",
        end.stderr
    );
    assert!(!end.stderr.contains("--model"), "{}", end.stderr);
}

#[test]
fn models_answered_with_404() {
    answers(
        Act::answer(
            "404 Not Found",
            "application/json",
            r#"{"detail":"Not Found"}"#,
        ),
        &["HTTP 404 Not Found", "path of the endpoint", "--model"],
    );
}

#[test]
fn models_answered_with_503() {
    answers(
        Act::answer("503 Service Unavailable", "text/plain", "loading"),
        &[
            "HTTP 503 Service Unavailable: loading",
            "overloaded or down",
        ],
    );
}

#[test]
fn models_answered_with_a_web_page() {
    let page = "<!DOCTYPE html><html><title>Welcome</title><body>Please log in.</body></html>";
    answers(
        Act::answer("200 OK", "text/html", page),
        &[
            "a web page in place of a list of models",
            "is the endpoint an OpenAI API?",
            "--model",
        ],
    );
}

#[test]
fn models_answered_with_an_empty_list() {
    let end = answers(
        Act::answer(
            "200 OK",
            "application/json",
            r#"{"object":"list","data":[]}"#,
        ),
        &["the server lists no model", "--model"],
    );
    assert!(
        !end.stderr.contains("check that the server runs"),
        "{}",
        end.stderr
    );
}

#[test]
fn models_answered_with_other_json() {
    answers(
        Act::answer("200 OK", "application/json", r#"{"status":"fine"}"#),
        &["JSON in place of a list of models", "--model"],
    );
}

#[test]
fn models_never_answered() {
    let end = answers(Act::Silence, &["no answer within 10 s", "is the server up"]);
    assert!(end.took >= Duration::from_secs(10), "{:?}", end.took);
    assert!(end.took < Duration::from_secs(30), "{:?}", end.took);
}
