//! The cache shared with Python's `huggingface_hub`: what we write is what it would read, and the other way round.

use std::path::Path;
use std::sync::{Arc, Barrier};

use hub::{HubEnv, TokenizerRef, find_config, find_tokenizer};

use crate::fake::{Answer, BODY, COMMIT, ETAG, FakeHub};

fn model() -> TokenizerRef {
    TokenizerRef::parse("org/name").unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The layout as `huggingface_hub` 0.36 leaves it after `hf_hub_download("org/name", file)`.
fn make_as_python_does(cache: &Path, file: &str, etag: &str, bytes: &[u8]) {
    let repo = cache.join("models--org--name");
    std::fs::create_dir_all(repo.join("blobs")).unwrap();
    std::fs::create_dir_all(repo.join("refs")).unwrap();
    std::fs::create_dir_all(repo.join("snapshots").join(COMMIT)).unwrap();
    std::fs::create_dir_all(cache.join(".locks/models--org--name")).unwrap();
    std::fs::write(
        cache.join(format!(".locks/models--org--name/{etag}.lock")),
        "",
    )
    .unwrap();
    std::fs::write(repo.join("blobs").join(etag), bytes).unwrap();
    std::fs::write(repo.join("refs/main"), COMMIT).unwrap();
    let pointer = repo.join("snapshots").join(COMMIT).join(file);
    #[cfg(unix)]
    std::os::unix::fs::symlink(format!("../../blobs/{etag}"), pointer).unwrap();
    #[cfg(not(unix))]
    std::fs::write(pointer, bytes).unwrap();
}

#[test]
fn a_download_leaves_blob_snapshot_and_ref_as_python_expects_them() {
    let hub = FakeHub::always(Answer::file(BODY));
    let cache = tempfile::tempdir().unwrap();
    let found = find_tokenizer(&model(), &HubEnv::new(cache.path(), hub.url())).unwrap();

    let repo = cache.path().join("models--org--name");
    assert_eq!(names(cache.path()), ["models--org--name"]);
    assert_eq!(names(&repo), ["blobs", "refs", "snapshots"]);
    assert_eq!(names(&repo.join("blobs")), [ETAG]);
    assert_eq!(names(&repo.join("refs")), ["main"]);
    assert_eq!(names(&repo.join("snapshots")), [COMMIT]);
    assert_eq!(
        names(&repo.join("snapshots").join(COMMIT)),
        ["tokenizer.json"]
    );
    // Without a line end: huggingface_hub takes the whole text for the commit.
    assert_eq!(
        std::fs::read_to_string(repo.join("refs/main")).unwrap(),
        COMMIT
    );
    assert_eq!(std::fs::read(repo.join("blobs").join(ETAG)).unwrap(), BODY);
    let pointer = repo.join("snapshots").join(COMMIT).join("tokenizer.json");
    assert_eq!(found.path.as_deref(), Some(pointer.as_path()));
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(pointer).unwrap(),
        Path::new("../../blobs").join(ETAG)
    );
}

#[test]
fn a_cache_that_python_filled_is_read_without_any_request() {
    let hub = FakeHub::always(Answer::new(500, b""));
    let cache = tempfile::tempdir().unwrap();
    make_as_python_does(cache.path(), "tokenizer.json", ETAG, BODY);
    let found = find_tokenizer(&model(), &HubEnv::new(cache.path(), hub.url())).unwrap();
    assert_eq!(&*found.bytes, BODY);
    assert!(hub.asked().is_empty());
}

#[test]
fn a_file_that_python_did_not_fetch_is_added_beside_the_one_it_did() {
    let hub = FakeHub::always(
        Answer::new(200, BODY)
            .with("X-Repo-Commit", COMMIT)
            .with("ETag", "\"another\""),
    );
    let cache = tempfile::tempdir().unwrap();
    make_as_python_does(cache.path(), "config.json", ETAG, b"{}");
    let env = HubEnv::new(cache.path(), hub.url());
    assert_eq!(&*find_tokenizer(&model(), &env).unwrap().bytes, BODY);
    assert_eq!(&*find_config(&model(), &env).unwrap().bytes, b"{}");
    assert_eq!(hub.asked().len(), 1);
    let snapshot = cache
        .path()
        .join("models--org--name/snapshots")
        .join(COMMIT);
    assert_eq!(names(&snapshot), ["config.json", "tokenizer.json"]);
}

#[test]
fn a_snapshot_that_main_does_not_stand_for_is_not_used() {
    let hub = FakeHub::always(Answer::file(BODY));
    let cache = tempfile::tempdir().unwrap();
    make_as_python_does(cache.path(), "tokenizer.json", "old", b"\"old\"");
    std::fs::write(cache.path().join("models--org--name/refs/main"), "feedface").unwrap();
    let found = find_tokenizer(&model(), &HubEnv::new(cache.path(), hub.url())).unwrap();
    assert_eq!(&*found.bytes, BODY);
    assert_eq!(hub.asked().len(), 1);
}

#[test]
fn an_interrupted_download_of_pythons_is_not_mistaken_for_the_file() {
    let hub = FakeHub::always(Answer::file(BODY));
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("models--org--name/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(format!("{ETAG}.incomplete")), &BODY[..9]).unwrap();
    let found = find_tokenizer(&model(), &HubEnv::new(cache.path(), hub.url())).unwrap();
    assert_eq!(&*found.bytes, BODY);
    assert_eq!(std::fs::read(blobs.join(ETAG)).unwrap(), BODY);
}

#[test]
fn many_searches_at_once_all_get_the_whole_file_and_leave_one() {
    // Large enough that writing it takes more than one system call of the reader beside it.
    let body = format!("[{}0]", "1234567,".repeat(100_000)).into_bytes();
    let answer = Answer::file(&body);
    let hub = FakeHub::always(answer);
    let cache = tempfile::tempdir().unwrap();
    let env = HubEnv::new(cache.path(), hub.url());
    let barrier = Arc::new(Barrier::new(8));
    std::thread::scope(|scope| {
        let searches: Vec<_> = (0..8)
            .map(|_| {
                let (barrier, env) = (Arc::clone(&barrier), &env);
                scope.spawn(move || {
                    barrier.wait();
                    find_tokenizer(&model(), env).unwrap().bytes
                })
            })
            .collect();
        for search in searches {
            assert_eq!(*search.join().unwrap(), *body);
        }
    });
    let repo = cache.path().join("models--org--name");
    assert_eq!(names(&repo.join("blobs")), [ETAG]);
    assert_eq!(names(&repo.join("refs")), ["main"]);
    assert_eq!(
        names(&repo.join("snapshots").join(COMMIT)),
        ["tokenizer.json"]
    );
    assert_eq!(std::fs::read(repo.join("blobs").join(ETAG)).unwrap(), body);
}
