//! What can go wrong between here and the hub: each fault has its own error, names the remedy, keeps the token to itself,
//! and leaves nothing in the cache.

use std::error::Error as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use hub::{HubEnv, HubError, ModelFile, Token, TokenizerRef, find_tokenizer};

use crate::fake::{Answer, BODY, COMMIT, ETAG, FakeHub, TOKEN};

fn search(env: &HubEnv) -> Result<ModelFile, HubError> {
    find_tokenizer(&TokenizerRef::parse("org/name").unwrap(), env)
}

/// Runs the search with a token, expects it to fail, and checks what holds for every failure.
fn failure(hub_url: &str) -> (HubError, String) {
    let cache = tempfile::tempdir().unwrap();
    let env = HubEnv {
        token: Token::new(TOKEN, "HF_TOKEN"),
        ..HubEnv::new(cache.path(), hub_url)
    };
    let error = search(&env).unwrap_err();
    let text = error.to_string();
    let mut whole = format!("{text} {error:?}");
    let mut source = error.source();
    while let Some(inner) = source {
        whole += &format!(" {inner} {inner:?}");
        source = inner.source();
    }
    assert!(!whole.contains(TOKEN), "the token is in: {whole}");
    assert!(!text.contains('\n'), "{text}");
    assert!(text.contains("`org/name`"), "{text}");
    assert!(text.contains("--tokenizer DIR"), "{text}");
    assert!(text.contains(&cache.path().display().to_string()), "{text}");
    assert!(
        text.contains(&format!(
            "{}/org/name/resolve/main/tokenizer.json",
            hub_url.trim_end_matches('/')
        )),
        "{text}"
    );
    assert_eq!(
        files_below(cache.path()),
        0,
        "something was left in the cache"
    );
    (error, text)
}

fn files_below(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files_below(&path) } else { 1 }
        })
        .sum()
}

#[test]
fn a_gated_model_is_explained_and_names_hf_token() {
    for status in [401, 403] {
        let hub = FakeHub::always(
            Answer::new(status, b"no")
                .with("X-Error-Code", "GatedRepo")
                .with(
                    "X-Error-Message",
                    &format!("Access to org/name is restricted, {TOKEN} is not on the list"),
                ),
        );
        let (error, text) = failure(&hub.url());
        let HubError::Refused {
            status: got,
            gated,
            token_source,
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(
            (*got, *gated, token_source.as_deref()),
            (status, true, Some("HF_TOKEN"))
        );
        for word in ["gated", "HF_TOKEN", "is restricted", &status.to_string()] {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
    }
}

#[test]
fn a_refusal_without_a_token_says_to_set_one() {
    let hub = FakeHub::always(Answer::new(401, b""));
    let cache = tempfile::tempdir().unwrap();
    let error = search(&HubEnv::new(cache.path(), hub.url())).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            HubError::Refused {
                token_source: None,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        text.contains("no token was sent") && text.contains("set HF_TOKEN"),
        "{text}"
    );
}

#[test]
fn a_refusal_by_a_content_network_is_not_taken_for_a_gated_model() {
    let cdn = FakeHub::always(Answer::new(403, b"expired"));
    let location = format!("{}/blob?sig=geheimsig", cdn.url());
    let hub = FakeHub::start(move |_, _| Answer::redirect(302, &location));
    let (error, text) = failure(&hub.url());
    assert!(
        matches!(error, HubError::Status { status: 403, .. }),
        "{error:?}"
    );
    assert!(
        text.contains(&cdn.url()) && !text.contains("geheimsig"),
        "{text}"
    );
}

#[test]
fn a_model_that_does_not_exist_is_told_from_a_file_that_does_not() {
    let hub = FakeHub::always(Answer::new(404, b"").with("X-Error-Code", "RepoNotFound"));
    let (error, text) = failure(&hub.url());
    assert!(
        matches!(
            error,
            HubError::NotFound {
                model_exists: false,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(text.contains("404") && text.contains("spelling"), "{text}");
    let hub = FakeHub::always(Answer::new(404, b"").with("X-Error-Code", "EntryNotFound"));
    let (error, text) = failure(&hub.url());
    assert!(
        matches!(
            error,
            HubError::NotFound {
                model_exists: true,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(text.contains("no such file"), "{text}");
}

#[test]
fn other_answers_are_reported_with_their_status() {
    for status in [204, 206, 304, 400, 418, 429, 500, 503] {
        let hub = FakeHub::always(Answer::new(status, b""));
        let (error, text) = failure(&hub.url());
        assert!(
            matches!(error, HubError::Status { status: got, .. } if got == status),
            "{error:?}"
        );
        assert!(text.contains(&status.to_string()), "{text}");
        assert_eq!(hub.asked().len(), 1, "a retry nobody asked for");
    }
}

#[test]
fn a_download_cut_in_the_middle_keeps_nothing_and_a_second_run_succeeds() {
    let hub = FakeHub::start(|_, before| match before {
        0 => Answer::file(BODY).cut_after(20),
        _ => Answer::file(BODY),
    });
    let cache = tempfile::tempdir().unwrap();
    let env = HubEnv::new(cache.path(), hub.url());
    let error = search(&env).unwrap_err();
    let HubError::Cut { got, expected, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((*got, *expected), (20, Some(BODY.len() as u64)));
    assert!(error.to_string().contains("cut after 20 bytes"), "{error}");
    assert_eq!(files_below(cache.path()), 0);

    let found = search(&env).unwrap();
    assert_eq!(&*found.bytes, BODY);
    let blob = cache.path().join("models--org--name/blobs").join(ETAG);
    assert_eq!(std::fs::read(blob).unwrap(), BODY);
    assert_eq!(hub.asked().len(), 2);
}

#[test]
fn a_cut_is_noticed_at_every_byte_and_before_the_first() {
    for sent in [0, 1, BODY.len() - 1] {
        let hub = FakeHub::always(Answer::file(BODY).cut_after(sent));
        let (error, _) = failure(&hub.url());
        assert!(
            matches!(error, HubError::Cut { got, .. } if got == sent as u64),
            "{error:?}"
        );
    }
}

#[test]
fn a_cut_behind_a_redirect_is_noticed_by_the_size_the_hub_named() {
    // The content network announces no length, so that only the hub's figure can tell; and the rest is valid JSON.
    let cdn = FakeHub::always(Answer::new(200, b"{}").without_length());
    let location = cdn.url();
    let hub = FakeHub::start(move |_, _| {
        Answer::redirect(302, &location)
            .with("X-Repo-Commit", COMMIT)
            .with("X-Linked-Etag", ETAG)
            .with("X-Linked-Size", "5000")
    });
    let (error, _) = failure(&hub.url());
    assert!(
        matches!(
            error,
            HubError::Cut {
                got: 2,
                expected: Some(5000),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_cut_that_no_length_betrays_is_noticed_because_the_rest_is_no_json() {
    let hub = FakeHub::always(Answer::file(BODY).cut_after(30).without_length());
    let (error, _) = failure(&hub.url());
    assert!(matches!(error, HubError::NotJson { .. }), "{error:?}");
}

#[test]
fn a_log_in_page_instead_of_the_file_is_not_kept() {
    let hub = FakeHub::always(Answer::file(b"<!doctype html><title>Sign in</title>"));
    let (error, text) = failure(&hub.url());
    assert!(matches!(error, HubError::NotJson { .. }), "{error:?}");
    assert!(text.contains("proxy"), "{text}");
}

#[test]
fn redirects_in_a_circle_end_after_five() {
    let hub = FakeHub::start(|_, before| Answer::redirect(302, &format!("/again/{before}")));
    let (error, text) = failure(&hub.url());
    assert!(matches!(error, HubError::Redirect { .. }), "{error:?}");
    assert!(text.contains("more than 5 times"), "{text}");
    assert_eq!(hub.asked().len(), 6);
}

#[test]
fn redirects_to_nowhere_are_not_followed() {
    for answer in [
        Answer::new(302, b""),
        Answer::redirect(302, "ftp://elsewhere/file"),
        Answer::redirect(302, "file:///etc/passwd"),
        Answer::redirect(302, "http://me:geheim@elsewhere/"),
    ] {
        let hub = FakeHub::always(answer);
        let (error, text) = failure(&hub.url());
        assert!(matches!(error, HubError::Redirect { .. }), "{error:?}");
        assert!(!text.contains("geheim"), "{text}");
    }
}

#[test]
fn a_hub_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (error, text) = failure(&url);
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
    assert!(text.contains("HF_ENDPOINT"), "{text}");
    assert!(error.source().is_some());
}

#[test]
fn a_hub_that_speaks_no_http_is_named() {
    // Port of a server that says something else and hangs up.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"220 mail ready\r\n\r\n");
    });
    let (error, _) = failure(&url);
    server.join().unwrap();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_hub_that_never_answers_is_left_after_the_limit() {
    let hub = FakeHub::always(Answer::silence());
    let cache = tempfile::tempdir().unwrap();
    let env = HubEnv {
        total_timeout: Duration::from_millis(200),
        ..HubEnv::new(cache.path(), hub.url())
    };
    let error = search(&env).unwrap_err();
    assert!(
        matches!(error, HubError::TimedOut { limit, .. } if limit == env.total_timeout),
        "{error:?}"
    );
    assert!(error.to_string().contains("0.2 s"), "{error}");
}

#[test]
fn an_endpoint_that_is_no_address_is_a_setting_to_correct() {
    let cache = tempfile::tempdir().unwrap();
    for endpoint in ["", "hub.example", "ftp://hub", "http://me:geheim@hub"] {
        let error = search(&HubEnv::new(cache.path(), endpoint)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, HubError::Setting { .. }), "{error:?}");
        assert!(
            text.contains("HF_ENDPOINT") && text.contains("--tokenizer DIR"),
            "{text}"
        );
        assert!(text.contains(&cache.path().display().to_string()), "{text}");
        assert!(!text.contains("geheim"), "{text}");
    }
}

#[test]
fn a_token_that_no_header_can_carry_is_named_by_its_source_and_sent_nowhere() {
    let hub = FakeHub::always(Answer::file(BODY));
    let cache = tempfile::tempdir().unwrap();
    let env = HubEnv {
        token: Token::new("hf_ge\nheim", "HF_TOKEN"),
        ..HubEnv::new(cache.path(), hub.url())
    };
    let error = search(&env).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, HubError::Setting { .. }), "{error:?}");
    assert!(
        text.contains("HF_TOKEN holds") && !text.contains("heim"),
        "{text}"
    );
    assert!(hub.asked().is_empty());
}
