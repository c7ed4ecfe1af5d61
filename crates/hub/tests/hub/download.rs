//! Downloads that succeed: the request that is made, the redirects that are followed, and who gets to see the token.

use hub::{HubEnv, Token, TokenizerRef, find_config, find_tokenizer};

use crate::fake::{Answer, BODY, COMMIT, ETAG, FakeHub, PATH, TOKEN};

fn model() -> TokenizerRef {
    TokenizerRef::parse("org/name").unwrap()
}

fn with_token(env: HubEnv) -> HubEnv {
    HubEnv {
        token: Token::new(TOKEN, "HF_TOKEN"),
        ..env
    }
}

#[test]
fn the_first_request_carries_the_token_and_asks_for_the_plain_file() {
    let hub = FakeHub::always(Answer::file(BODY));
    let cache = tempfile::tempdir().unwrap();
    let env = with_token(HubEnv::new(cache.path(), hub.url()));
    let found = find_tokenizer(&model(), &env).unwrap();
    assert_eq!(&*found.bytes, BODY);
    assert!(found.origin.contains(&hub.url()), "{}", found.origin);
    let asked = hub.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, PATH);
    assert_eq!(
        asked[0].header("authorization"),
        Some(format!("Bearer {TOKEN}").as_str())
    );
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    assert!(asked[0].header("user-agent").is_some());
}

#[test]
fn without_a_token_no_authorization_is_sent_and_config_is_found_likewise() {
    let hub = FakeHub::always(Answer::file(b"{\"hidden_size\": 8}"));
    let cache = tempfile::tempdir().unwrap();
    let env = HubEnv::new(cache.path(), hub.url());
    let model = TokenizerRef::parse("gpt2").unwrap();
    assert_eq!(
        &*find_config(&model, &env).unwrap().bytes,
        b"{\"hidden_size\": 8}"
    );
    let asked = hub.asked();
    assert_eq!(asked[0].path, "/gpt2/resolve/main/config.json");
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn a_second_search_is_served_from_the_cache_without_any_request() {
    let hub = FakeHub::always(Answer::file(BODY));
    let cache = tempfile::tempdir().unwrap();
    let env = HubEnv::new(cache.path(), hub.url());
    let first = find_tokenizer(&model(), &env).unwrap();
    let second = find_tokenizer(&model(), &env).unwrap();
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(first.path, second.path);
    assert_eq!(hub.asked().len(), 1);
}

#[test]
fn the_endpoints_path_and_trailing_slashes_are_respected() {
    for suffix in ["/mirror/hf", "/mirror/hf/", "/mirror/hf//"] {
        let hub = FakeHub::always(Answer::file(BODY));
        let cache = tempfile::tempdir().unwrap();
        let env = HubEnv::new(cache.path(), format!("{}{suffix}", hub.url()));
        find_tokenizer(&model(), &env).unwrap();
        assert_eq!(hub.asked()[0].path, format!("/mirror/hf{PATH}"));
    }
}

#[test]
fn a_redirect_to_another_host_is_followed_without_the_token() {
    // What the content network says about etag and commit must not count.
    let cdn = FakeHub::always(
        Answer::new(200, BODY)
            .with("ETag", "\"cdn-etag\"")
            .with("X-Repo-Commit", "cdn-commit"),
    );
    for cdn_url in [cdn.url(), cdn.url_by_name()] {
        let location = format!("{cdn_url}/blob?X-Signature=abc");
        let size = BODY.len().to_string();
        let hub = FakeHub::start(move |_, _| {
            Answer::redirect(302, &location)
                .with("X-Repo-Commit", COMMIT)
                .with("ETag", "\"of-the-redirect\"")
                .with("X-Linked-Etag", &format!("\"{ETAG}\""))
                .with("X-Linked-Size", &size)
        });
        let cache = tempfile::tempdir().unwrap();
        let env = with_token(HubEnv::new(cache.path(), hub.url()));
        let before = cdn.asked().len();
        let found = find_tokenizer(&model(), &env).unwrap();
        assert_eq!(&*found.bytes, BODY);
        let asked = &cdn.asked()[before..];
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].path, "/blob?X-Signature=abc");
        assert_eq!(asked[0].header("authorization"), None);
        assert!(hub.asked()[0].header("authorization").is_some());
        let repo = cache.path().join("models--org--name");
        assert_eq!(std::fs::read(repo.join("blobs").join(ETAG)).unwrap(), BODY);
        assert!(repo.join("snapshots").join(COMMIT).is_dir());
    }
}

#[test]
fn another_name_or_port_of_the_same_machine_is_another_host() {
    let other_port = FakeHub::always(Answer::new(200, BODY));
    let location = other_port.url();
    let hub = FakeHub::start(move |_, _| Answer::redirect(307, &location));
    let cache = tempfile::tempdir().unwrap();
    let env = with_token(HubEnv::new(cache.path(), hub.url()));
    find_tokenizer(&model(), &env).unwrap();
    assert_eq!(other_port.asked()[0].header("authorization"), None);

    // The very same server, but called by its name.
    let hub = FakeHub::start(|asked, _| {
        let host = asked.header("host").unwrap_or_default();
        match host.strip_prefix("127.0.0.1") {
            Some(port) => Answer::redirect(302, &format!("http://localhost{port}/by-name")),
            None => Answer::new(200, BODY),
        }
    });
    let env = with_token(HubEnv::new(cache.path().join("2"), hub.url()));
    find_tokenizer(&model(), &env).unwrap();
    let asked = hub.asked();
    assert_eq!(asked[1].path, "/by-name");
    assert_eq!(asked[1].header("authorization"), None);
}

#[test]
fn a_redirect_within_the_hub_keeps_the_token_and_its_answer_is_believed() {
    for (location, expected) in [
        (
            "/renamed/name/resolve/main/tokenizer.json",
            "/renamed/name/resolve/main/tokenizer.json",
        ),
        ("other.json?a=b", "/org/name/resolve/main/other.json?a=b"),
        ("../x/y", "/org/name/resolve/x/y"),
    ] {
        let hub = FakeHub::start(move |asked, _| {
            if asked.path == PATH {
                Answer::redirect(307, location)
            } else {
                Answer::file(BODY)
            }
        });
        let cache = tempfile::tempdir().unwrap();
        let env = with_token(HubEnv::new(cache.path(), hub.url()));
        let found = find_tokenizer(&model(), &env).unwrap();
        let asked = hub.asked();
        assert_eq!(asked[1].path, expected);
        assert!(asked[1].header("authorization").is_some());
        // The cache goes by the name that was asked for, so that the next search finds it.
        assert!(
            found
                .path
                .unwrap()
                .starts_with(cache.path().join("models--org--name"))
        );
    }
}

#[test]
fn once_a_redirect_has_left_the_hub_the_token_stays_home_even_on_the_way_back() {
    let hub = FakeHub::start(|asked, _| {
        let host = asked.header("host").unwrap_or_default().to_owned();
        let port = host.rsplit(':').next().unwrap_or_default();
        match asked.path.as_str() {
            PATH => Answer::redirect(302, &format!("http://localhost:{port}/away")),
            "/away" => Answer::redirect(302, &format!("http://127.0.0.1:{port}/back")),
            _ => Answer::new(200, BODY),
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let env = with_token(HubEnv::new(cache.path(), hub.url()));
    find_tokenizer(&model(), &env).unwrap();
    let asked = hub.asked();
    assert_eq!(asked[2].path, "/back");
    assert_eq!(asked[2].header("authorization"), None);
}

#[test]
fn a_mirror_that_names_no_commit_or_etag_serves_the_run_but_not_the_cache() {
    for answer in [
        Answer::new(200, BODY),
        Answer::new(200, BODY).with("ETag", "\"x\""),
        Answer::new(200, BODY).with("X-Repo-Commit", COMMIT),
        Answer::new(200, BODY)
            .with("ETag", "\"../../evil\"")
            .with("X-Repo-Commit", COMMIT),
    ] {
        let hub = FakeHub::always(answer);
        let cache = tempfile::tempdir().unwrap();
        let env = HubEnv::new(cache.path(), hub.url());
        let found = find_tokenizer(&model(), &env).unwrap();
        assert_eq!((&*found.bytes, found.path), (BODY, None));
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_cache_that_cannot_be_written_does_not_stop_the_run() {
    let hub = FakeHub::always(Answer::file(BODY));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let found = find_tokenizer(&model(), &HubEnv::new(&file, hub.url())).unwrap();
    assert_eq!((&*found.bytes, found.path), (BODY, None));
    let no_cache = HubEnv {
        cache_dir: None,
        ..HubEnv::new("", hub.url())
    };
    assert_eq!(&*find_tokenizer(&model(), &no_cache).unwrap().bytes, BODY);
}

#[test]
fn a_body_that_ends_with_the_connection_is_taken_when_nothing_contradicts_it() {
    let hub = FakeHub::always(Answer::file(BODY).without_length());
    let cache = tempfile::tempdir().unwrap();
    let env = HubEnv::new(cache.path(), hub.url());
    assert_eq!(&*find_tokenizer(&model(), &env).unwrap().bytes, BODY);
}
