//! Piece tables, kept from run to run: measuring one and parsing a large tokenizer file take longer than everything else
//! before the first request.
//!
//! Promise: a file here is a convenience. One that is missing, stale, damaged or cannot be written costs time only.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use workload::{PieceTable, TextTokenizer};

/// The table kept for this tokenizer.
pub(super) fn find(tokenizer: &TextTokenizer) -> Option<PieceTable> {
    PieceTable::builtin(tokenizer).or_else(|| find_in(&folder()?, tokenizer))
}

/// Keeps a table for the next run.
pub(super) fn keep(table: &PieceTable) {
    let Some(folder) = folder() else { return };
    if let Err(error) = keep_in(&folder, table) {
        tracing::debug!(
            "piece tables are not kept for the next run in {}: {error}",
            folder.display()
        );
    }
}

fn find_in(folder: &Path, tokenizer: &TextTokenizer) -> Option<PieceTable> {
    let bytes = fs::read(file(folder, tokenizer)).ok()?;
    PieceTable::from_bytes(tokenizer, &bytes)
}

fn keep_in(folder: &Path, table: &PieceTable) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    // Other runs may read or write the same file now: they only ever see a whole one.
    let unfinished = NamedTempFile::new_in(folder)?;
    fs::write(unfinished.path(), table.to_bytes())?;
    let file = file(folder, table.tokenizer());
    unfinished.persist(&file)?;
    // What other editions kept of this tokenizer would stay for ever.
    let of_tokenizer = prefix(table.tokenizer());
    for entry in fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        let is_of_tokenizer = name.to_str().is_some_and(|n| n.starts_with(&of_tokenizer));
        if is_of_tokenizer && entry.path() != file {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Named by what a table depends on: the tokenizer, our words and rules, and our version, which stands for the libraries that
/// read tokenizer files. Should one of them be exchanged within a version, the check of the first prompts still finds what
/// no longer counts as it did.
fn file(folder: &Path, tokenizer: &TextTokenizer) -> PathBuf {
    let (edition, version) = (PieceTable::edition(), env!("CARGO_PKG_VERSION"));
    let prefix = prefix(tokenizer);
    folder.join(format!("{prefix}{version}-{edition:016x}.pieces"))
}

/// How the names of all tables of a tokenizer begin.
fn prefix(tokenizer: &TextTokenizer) -> String {
    format!("{:016x}-", tokenizer.fingerprint())
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
    use super::*;

    #[test]
    fn a_table_is_found_again_and_nothing_else_is_taken_for_it() {
        let tokenizer = TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
        let table = PieceTable::build(&tokenizer).unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("new");
        assert!(find_in(&folder, &tokenizer).is_none());
        keep_in(&folder, &table).unwrap();
        let of_another_edition = folder.join(format!("{}0.0.0-1.pieces", prefix(&tokenizer)));
        fs::write(&of_another_edition, "").unwrap();
        keep_in(&folder, &table).unwrap();
        let found = find_in(&folder, &tokenizer).unwrap();
        assert_eq!(found.to_bytes(), table.to_bytes());
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing else is left"
        );

        let path = file(&folder, &tokenizer);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(find_in(&folder, &tokenizer).is_none(), "cut short");
    }

    #[test]
    fn the_built_in_tokenizer_brings_its_table() {
        let tokenizer = TextTokenizer::known(hub::builtin_tokenizer().into());
        assert!(find(&tokenizer).is_some(), "it is part of the program");
    }
}
