//! Paths, the built-in tokenizer, and the offline flag: everything that needs no request.

use hub::{HubEnv, HubError, TokenizerRef, find_config, find_tokenizer};

use crate::fake::{Answer, BODY, COMMIT, FakeHub};

/// A hub whose every answer would be a surprise, and settings that point at it.
fn watched() -> (FakeHub, tempfile::TempDir, HubEnv) {
    let hub = FakeHub::always(Answer::file(BODY));
    let dir = tempfile::tempdir().unwrap();
    let env = HubEnv::new(dir.path().join("hub"), hub.url());
    (hub, dir, env)
}

#[test]
fn a_directory_with_the_file_needs_no_network_and_no_cache() {
    let (hub, dir, env) = watched();
    std::fs::write(dir.path().join("tokenizer.json"), BODY).unwrap();
    std::fs::write(dir.path().join("config.json"), b"{}").unwrap();
    let model = TokenizerRef::parse(dir.path().to_str().unwrap()).unwrap();
    let found = find_tokenizer(&model, &env).unwrap();
    assert_eq!(&*found.bytes, BODY);
    assert_eq!(found.path, Some(dir.path().join("tokenizer.json")));
    assert_eq!(&*find_config(&model, &env).unwrap().bytes, b"{}");
    assert!(hub.asked().is_empty());
}

#[test]
fn a_file_may_be_given_under_any_name_and_its_config_is_looked_for_beside_it() {
    let (_hub, dir, env) = watched();
    let file = dir.path().join("my-tokenizer.json");
    std::fs::write(&file, BODY).unwrap();
    let model = TokenizerRef::parse(file.to_str().unwrap()).unwrap();
    assert_eq!(&*find_tokenizer(&model, &env).unwrap().bytes, BODY);
    let error = find_config(&model, &env).unwrap_err();
    assert!(matches!(error, HubError::NotInDirectory { .. }), "{error}");
    std::fs::write(dir.path().join("config.json"), b"{}").unwrap();
    assert_eq!(&*find_config(&model, &env).unwrap().bytes, b"{}");
}

#[test]
fn a_directory_without_the_file_is_named_and_never_looked_up_on_the_hub() {
    let (hub, dir, env) = watched();
    let model = TokenizerRef::parse(dir.path().to_str().unwrap()).unwrap();
    let error = find_tokenizer(&model, &env).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
    assert!(
        text.contains("tokenizer.json") && text.contains("--tokenizer DIR"),
        "{text}"
    );
    assert!(hub.asked().is_empty());
}

#[test]
fn the_built_in_tokenizer_is_a_bpe_and_needs_nothing() {
    let env = HubEnv::new("/nonexistent/cache", "not an address");
    let found = find_tokenizer(&TokenizerRef::parse("builtin").unwrap(), &env).unwrap();
    assert_eq!(&*found.bytes, hub::builtin_tokenizer());
    assert_eq!(found.path, None);
    let json: serde_json::Value = serde_json::from_slice(&found.bytes).unwrap();
    assert_eq!(json["model"]["type"], "BPE");
    let error = find_config(&TokenizerRef::Builtin, &env).unwrap_err();
    assert!(matches!(error, HubError::NotBuiltIn { .. }), "{error}");
}

#[test]
fn offline_without_the_file_in_the_cache_is_an_error_and_no_request() {
    let (hub, _dir, mut env) = watched();
    env.offline = true;
    let error = find_tokenizer(&TokenizerRef::HubId("org/name".to_owned()), &env).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("HF_HUB_OFFLINE"), "{text}");
    assert!(
        text.contains(env.cache_dir.as_ref().unwrap().to_str().unwrap()),
        "{text}"
    );
    assert!(text.contains("--tokenizer DIR"), "{text}");
    assert!(hub.asked().is_empty());
}

#[test]
fn offline_with_the_file_in_the_cache_works_and_makes_no_request() {
    let (hub, _dir, mut env) = watched();
    let model = TokenizerRef::HubId("org/name".to_owned());
    find_tokenizer(&model, &env).unwrap();
    assert_eq!(hub.asked().len(), 1);
    env.offline = true;
    let found = find_tokenizer(&model, &env).unwrap();
    assert_eq!(&*found.bytes, BODY);
    assert!(found.origin.contains(COMMIT), "{}", found.origin);
    assert_eq!(hub.asked().len(), 1);
}

#[test]
fn an_id_that_did_not_come_through_parse_is_still_checked() {
    let (hub, _dir, env) = watched();
    for id in ["../../etc", "a/b/c", "", "a b"] {
        let error = find_tokenizer(&TokenizerRef::HubId(id.to_owned()), &env).unwrap_err();
        assert!(matches!(error, HubError::BadId { .. }), "{error}");
    }
    assert!(hub.asked().is_empty());
}
