//! Model detection: its answers and its failures, each with a cause that can be printed.

use std::error::Error;
use std::time::Duration;

use core_client::{ClientError, DetectError};
use metrics::timeline::FailureKind;

use crate::server::*;

/// Asks a server that plays one script and returns the line a person would read.
async fn fails(script: Script) -> (DetectError, String) {
    let server = Server::start(vec![script]).await;
    let error = client(&server.url(), config())
        .detect_model()
        .await
        .expect_err("no model");
    let url = format!("{}/v1/models", server.url());
    assert_eq!(
        error.to_string(),
        format!("could not detect model from {url}")
    );
    let cause = error.source().expect("a cause").to_string();
    assert!(!cause.contains('\n'), "{cause}");
    match error {
        ClientError::DetectModel { source, .. } => (source, cause),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_model_of_the_list_is_taken() {
    let list = "{\"object\":\"list\",\"models\":[1],\"data\":[{\"id\":\"tiny\",\"max_model_len\":9},{\"id\":\"b\"}]}";
    let server = Server::start(vec![whole("200 OK", "application/json", list)]).await;
    let client = client(&format!("{}/v1", server.url()), config());
    assert_eq!(client.detect_model().await.unwrap().id, "tiny");
    assert!(server.log().requests[0].head.starts_with("GET /v1/models "));
}

#[tokio::test]
async fn what_a_name_stands_for_is_taken_where_the_server_says_so() {
    for (field, root) in [
        (r#","root":"/models/llama""#, Some("/models/llama")),
        (r#","root":"org/name""#, Some("org/name")),
        (r#","root":null"#, None),
        (r#","root":{"a":1}"#, None),
        ("", None),
    ] {
        let list = format!(r#"{{"data":[{{"id":"tiny"{field}}}]}}"#);
        let server = Server::start(vec![whole("200 OK", "application/json", &list)]).await;
        let served = client(&server.url(), config())
            .detect_model()
            .await
            .unwrap();
        assert_eq!((served.id.as_str(), served.root.as_deref()), ("tiny", root));
    }
}

#[tokio::test]
async fn a_refused_list_names_the_status_and_the_remedy() {
    let (error, cause) = fails(whole(
        "401 Unauthorized",
        "application/json",
        "{\"error\":\"no key\"}",
    ))
    .await;
    assert!(
        matches!(error, DetectError::Failed(f) if f.kind == FailureKind::Status && f.status == Some(401))
    );
    assert!(
        cause.contains("401") && cause.contains("no key") && cause.contains("API key"),
        "{cause}"
    );
    let (_, cause) = fails(whole("404 Not Found", "text/plain", "nothing here")).await;
    assert!(
        cause.contains("404") && cause.contains("nothing here"),
        "{cause}"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_quoted() {
    let (error, cause) = fails(whole(
        "200 OK",
        "text/html",
        "<html><title>Router</title></html>",
    ))
    .await;
    assert!(matches!(error, DetectError::NoList(_)));
    assert!(
        cause.contains("web page") && cause.contains("Router"),
        "{cause}"
    );
    let (_, cause) = fails(whole(
        "200 OK",
        "application/json",
        "{\"error\":{\"message\":\"loading\"}}",
    ))
    .await;
    assert!(cause.contains("loading"), "{cause}");
    let (_, cause) = fails(whole("200 OK", "application/json", "")).await;
    assert!(cause.contains("empty"), "{cause}");
}

#[tokio::test]
async fn an_empty_list_asks_for_the_model_by_name() {
    let (error, cause) = fails(whole("200 OK", "application/json", "{\"data\":[]}")).await;
    assert_eq!(error, DetectError::NoModel);
    assert!(cause.contains("--model"), "{cause}");
}

#[tokio::test]
async fn a_server_that_refuses_or_hangs_up_says_so() {
    let (error, _) = fails(vec![Do::Close]).await;
    assert!(matches!(error, DetectError::Failed(f) if f.kind == FailureKind::Truncated));
    let error = client("http://127.0.0.1:1", config())
        .detect_model()
        .await
        .expect_err("closed");
    let cause = error.source().expect("a cause").to_string();
    assert!(cause.contains("refused"), "{cause}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_after_ten_seconds() {
    let server = Server::start(vec![vec![Do::Hang]]).await;
    let client = client(&server.url(), config());
    client.open_connections(&[1]).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = client.detect_model().await.expect_err("hangs");
    let cause = error.source().expect("a cause").to_string();
    assert!(cause.contains("10 s"), "{cause}");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(10) && took < Duration::from_secs(11),
        "{took:?}"
    );
}
