//! The hub's cache on disk, in the layout that Python's `huggingface_hub` made common:
//!
//! ```text
//! models--org--name/refs/main                      text: the commit that `main` was at the last download
//! models--org--name/snapshots/<commit>/<file>      symbolic link to ../../blobs/<etag>
//! models--org--name/blobs/<etag>                   the bytes
//! ```
//!
//! Promises that other processes, Python's included, only ever see whole files: every entry is made under a name of its own
//! and renamed into place, in the order blob, snapshot, ref. So two writers of the same file need no lock. Where symbolic
//! links cannot be made, the snapshot holds a copy, which `huggingface_hub` accepts too. Refuses names from the network
//! that are not one plain path component.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The only revision this crate looks for.
const REVISION: &str = "main";

/// A file that stands in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    /// The file in its snapshot.
    pub(crate) path: PathBuf,
    /// The commit the snapshot belongs to.
    pub(crate) commit: String,
}

/// The directory of a model inside the cache.
pub(crate) fn repo_folder(id: &str) -> String {
    format!("models--{}", id.replace('/', "--"))
}

/// Looks the file up under the commit that `main` stands for; `None` when any part of the way is missing.
pub(crate) fn lookup(cache: &Path, id: &str, file: &str) -> Option<Cached> {
    let repo = cache.join(repo_folder(id));
    let commit = std::fs::read_to_string(repo.join("refs").join(REVISION)).ok()?;
    let commit = commit.trim();
    if !is_plain_name(commit) {
        return None;
    }
    let path = repo.join("snapshots").join(commit).join(file);
    path.is_file().then(|| Cached {
        path,
        commit: commit.to_owned(),
    })
}

/// Puts a whole file into the cache and answers with its place in the snapshot.
///
/// # Errors
/// Any failure to write; nothing that a reader could take for the file is left behind then.
pub(crate) fn store(
    cache: &Path,
    id: &str,
    file: &str,
    commit: &str,
    etag: &str,
    bytes: &[u8],
) -> io::Result<PathBuf> {
    store_with(cache, id, file, commit, etag, bytes, symlink)
}

/// [`store`] with the way to make a symbolic link passed in, so that systems without links can be tried anywhere.
fn store_with(
    cache: &Path,
    id: &str,
    file: &str,
    commit: &str,
    etag: &str,
    bytes: &[u8],
    link: impl Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    for name in [commit, etag, file] {
        if !is_plain_name(name) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("`{}` cannot be a file name", name.escape_debug()),
            ));
        }
    }
    let repo = cache.join(repo_folder(id));
    let blobs = repo.join("blobs");
    let snapshot = repo.join("snapshots").join(commit);
    let refs = repo.join("refs");
    for dir in [&blobs, &snapshot, &refs] {
        std::fs::create_dir_all(dir)?;
    }
    place(&blobs.join(etag), |path| write_new(path, bytes))?;
    let pointer = snapshot.join(file);
    let target = Path::new("..").join("..").join("blobs").join(etag);
    place(&pointer, |path| {
        link(&target, path).or_else(|_| write_new(path, bytes))
    })?;
    let reference = refs.join(REVISION);
    if std::fs::read_to_string(&reference).ok().as_deref() != Some(commit) {
        place(&reference, |path| write_new(path, commit.as_bytes()))?;
    }
    Ok(pointer)
}

/// Makes a file or link under a name of its own beside `path` and renames it to `path`.
fn place(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(
        ".{}-{}.tmp",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    let temporary = path.with_file_name(name);
    let made = make(&temporary).and_then(|()| std::fs::rename(&temporary, path));
    if made.is_err() {
        // The first error is the one to report; a temporary that was never made cannot be removed either.
        let _ = std::fs::remove_file(&temporary);
    }
    made
}

/// Writes a file that must not exist yet, down to the disk, so that a rename never publishes a hole.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The name of a blob for an `ETag` header: without the quotes and the mark of a weak tag, as `huggingface_hub` names it.
pub(crate) fn blob_name(etag: &str) -> Option<String> {
    let name = etag.trim().trim_start_matches("W/").trim_matches('"');
    is_plain_name(name).then(|| name.to_owned())
}

/// True for one harmless path component, which is all that a commit, an etag or one of our files ever is.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn files_below(dir: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names.extend(files_below(&path));
            } else {
                names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
        names.sort();
        names
    }

    #[test]
    fn what_is_stored_is_found_again_and_no_temporary_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = store(dir.path(), "o/n", "tokenizer.json", COMMIT, "e1", b"{}").unwrap();
        let cached = lookup(dir.path(), "o/n", "tokenizer.json").unwrap();
        assert_eq!((cached.path, cached.commit.as_str()), (path, COMMIT));
        assert_eq!(files_below(dir.path()), ["e1", "main", "tokenizer.json"]);
        assert_eq!(lookup(dir.path(), "o/n", "config.json"), None);
        assert_eq!(lookup(dir.path(), "o/other", "tokenizer.json"), None);
    }

    #[cfg(unix)]
    #[test]
    fn the_snapshot_is_a_relative_link_so_that_a_cache_can_be_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = store(dir.path(), "o/n", "tokenizer.json", COMMIT, "e1", b"{}").unwrap();
        assert_eq!(
            std::fs::read_link(path).unwrap(),
            Path::new("../../blobs/e1")
        );
    }

    #[test]
    fn where_links_cannot_be_made_the_snapshot_holds_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = store_with(dir.path(), "o/n", "f.json", COMMIT, "e", b"[1]", |_, _| {
            Err(io::ErrorKind::PermissionDenied.into())
        })
        .unwrap();
        assert!(path.symlink_metadata().unwrap().file_type().is_file());
        assert_eq!(std::fs::read(path).unwrap(), b"[1]");
        assert_eq!(files_below(dir.path()), ["e", "f.json", "main"]);
    }

    #[test]
    fn a_new_commit_moves_main_and_keeps_the_old_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let old = store(dir.path(), "o/n", "f.json", COMMIT, "e1", b"1").unwrap();
        let next = COMMIT.replace('0', "f");
        store(dir.path(), "o/n", "f.json", &next, "e2", b"2").unwrap();
        let cached = lookup(dir.path(), "o/n", "f.json").unwrap();
        assert_eq!(cached.commit, next);
        assert_eq!(std::fs::read(cached.path).unwrap(), b"2");
        assert_eq!(std::fs::read(old).unwrap(), b"1");
    }

    #[test]
    fn a_dangling_link_counts_as_absent_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = store(dir.path(), "o/n", "f.json", COMMIT, "e1", b"1").unwrap();
        std::fs::remove_file(dir.path().join("models--o--n/blobs/e1")).unwrap();
        assert_eq!(lookup(dir.path(), "o/n", "f.json"), None);
        store(dir.path(), "o/n", "f.json", COMMIT, "e1", b"1").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"1");
    }

    #[test]
    fn a_reader_that_has_the_file_open_keeps_a_whole_one_while_it_is_replaced() {
        use std::io::Read as _;
        let dir = tempfile::tempdir().unwrap();
        let path = store(dir.path(), "o/n", "f.json", COMMIT, "e1", b"[1, 2, 3]").unwrap();
        let mut open = std::fs::File::open(&path).unwrap();
        store(dir.path(), "o/n", "f.json", COMMIT, "e1", b"[4]").unwrap();
        let mut seen = String::new();
        open.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "[1, 2, 3]");
        assert_eq!(std::fs::read(path).unwrap(), b"[4]");
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_an_error_and_not_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("not-a-directory");
        std::fs::write(&file, "").unwrap();
        assert!(store(&file, "o/n", "f.json", COMMIT, "e1", b"1").is_err());
    }

    #[test]
    fn etags_lose_their_quotes_and_their_weak_mark() {
        for (header, name) in [
            ("\"abc\"", Some("abc")),
            ("W/\"abc\"", Some("abc")),
            ("abc", Some("abc")),
            ("\"\"", None),
            ("\"../../x\"", None),
            ("\".hidden\"", None),
            ("\"a b\"", None),
        ] {
            assert_eq!(blob_name(header).as_deref(), name, "{header}");
        }
    }

    proptest! {
        /// Whatever a server sends as commit and etag, nothing is written outside of the model's directory.
        #[test]
        fn nothing_is_written_outside_the_models_directory(
            commit in "\\PC{0,12}|\\.\\./[a-z]{1,4}|/tmp/[a-z]{8}|[a-f0-9]{8}",
            etag in "\\PC{0,12}|\\.\\./\\.\\./[a-z]{1,4}|[a-f0-9]{8}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            let cache = dir.path().join("a").join("cache");
            std::fs::create_dir_all(&cache).unwrap();
            let stored = store(&cache, "o/n", "f.json", &commit, &etag, b"1");
            let in_cache: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|e| e.unwrap().file_name()).collect();
            prop_assert!(in_cache.iter().all(|name| name == "models--o--n"));
            prop_assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
            prop_assert_eq!(stored.is_ok(), is_plain_name(&commit) && is_plain_name(&etag));
        }
    }
}
