//! The result file: opened before the first request, written after the last.
//!
//! Promise: a place that cannot be written is found before anything is sent; missing folders are made;
//! what the file held stays until there is something to put in its place, and a run without a result
//! leaves no empty file behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that can be written.
#[derive(Debug)]
pub struct ResultFile {
    path: PathBuf,
    file: File,
    /// It was not there before, and nothing is in it yet.
    is_ours: bool,
}

/// Why there is no result file.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The folder cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be opened or written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ResultFile {
    /// Opens the file for writing without changing what it holds.
    ///
    /// # Errors
    /// [`OutputError`], when it could not be written.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::create_dir_all(folder).map_err(|source| OutputError::Folder {
                path: folder.to_owned(),
                source,
            })?;
        }
        let failed = |source| OutputError::File {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        options.write(true);
        let (file, is_ours) = match options.clone().create_new(true).open(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options.open(path).map_err(failed)?, false)
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            is_ours,
        })
    }

    /// The path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces what the file holds.
    ///
    /// # Errors
    /// [`OutputError::File`].
    pub fn write(mut self, text: &str) -> Result<(), OutputError> {
        let mut write = || {
            // A pipe or a terminal has no length.
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
            self.file.write_all(text.as_bytes())?;
            self.file.flush()
        };
        let written = write();
        self.is_ours &= written.is_err();
        written.map_err(|source| OutputError::File {
            path: self.path.clone(),
            source,
        })
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if self.is_ours {
            // An empty file that stays is a nuisance and no more.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_old_results_replaced_at_the_end_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/results.json");
        ResultFile::open(&path)
            .unwrap()
            .write("a longer text")
            .unwrap();
        let file = ResultFile::open(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a longer text");
        file.write("short").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
        drop(ResultFile::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
    }

    #[test]
    fn a_run_without_a_result_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        let file = ResultFile::open(&path).unwrap();
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_is_no_file_and_a_file_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let error = ResultFile::open(dir.path()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = ResultFile::open(&file.join("results.json")).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot make the folder"),
            "{error}"
        );
    }
}
