//! Token counts of our pieces of text, kept from run to run: measuring them and parsing a large tokenizer file take longer
//! than everything else before the first request.
//!
//! Promise: a file here is a convenience. One that is missing, stale, damaged or cannot be written costs time only.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use workload::PieceCounts;

/// The counts kept for the tokenizer file of this fingerprint.
pub(super) fn find(fingerprint: u64) -> Option<PieceCounts> {
    let builtin = PieceCounts::builtin().filter(|kept| kept.is_of(fingerprint));
    builtin.or_else(|| find_in(&folder()?, fingerprint))
}

/// Keeps counts for the next run.
pub(super) fn keep(fingerprint: u64, counts: &PieceCounts) {
    let Some(folder) = folder() else { return };
    if let Err(error) = keep_in(&folder, fingerprint, counts) {
        tracing::debug!(
            "token counts are not kept for the next run in {}: {error}",
            folder.display()
        );
    }
}

fn find_in(folder: &Path, fingerprint: u64) -> Option<PieceCounts> {
    let json = fs::read(file(folder, fingerprint)).ok()?;
    PieceCounts::from_json(&json)
        .ok()
        .filter(|kept| kept.is_of(fingerprint))
}

fn keep_in(folder: &Path, fingerprint: u64, counts: &PieceCounts) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    // Other runs may read or write the same file now: they only ever see a whole one.
    let unfinished = NamedTempFile::new_in(folder)?;
    fs::write(unfinished.path(), counts.to_json())?;
    unfinished.persist(file(folder, fingerprint))?;
    Ok(())
}

/// Named by our version too, since another one may read tokenizer files with another library.
fn file(folder: &Path, fingerprint: u64) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    folder.join(format!("pieces-{version}-{fingerprint:016x}.json"))
}

/// `$XDG_CACHE_HOME/kv-cache-tester`, by default under `~/.cache`.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let caches = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    caches.is_absolute().then(|| caches.join("kv-cache-tester"))
}

#[cfg(test)]
mod tests {
    use workload::{PieceTable, TextTokenizer};

    use super::*;

    #[test]
    fn counts_are_found_again_and_nothing_else_is_taken_for_them() {
        let tokenizer = TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
        let (_, counts) = PieceTable::build_and_keep(&tokenizer).unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("new");
        let fingerprint = tokenizer.fingerprint();
        assert_eq!(find_in(&folder, fingerprint), None);
        keep_in(&folder, fingerprint, &counts).unwrap();
        assert_eq!(find_in(&folder, fingerprint), Some(counts.clone()));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no leftovers");

        // Under another's name: no counts of that tokenizer.
        keep_in(&folder, 7, &counts).unwrap();
        assert_eq!(find_in(&folder, 7), None);
        let path = file(&folder, fingerprint);
        let json = fs::read(&path).unwrap();
        fs::write(&path, &json[..json.len() / 2]).unwrap();
        assert_eq!(find_in(&folder, fingerprint), None, "cut short");
    }

    #[test]
    fn the_built_in_tokenizer_brings_its_counts() {
        let tokenizer = TextTokenizer::known(hub::builtin_tokenizer().into());
        let kept = find(tokenizer.fingerprint()).expect("they are part of the program");
        assert!(PieceTable::rebuild(&tokenizer, &kept).is_some());
    }
}
