//! Replacing a file so that no reader ever sees half of it.
//!
//! Promise: the bytes go to a temporary file in the same directory, which takes the final name by one
//! rename. Whoever opens that name sees the old content or the new, never a part; a process killed in
//! between leaves the old file and a hidden temporary one (`.<name>.….tmp`) that no reader of ours or
//! of the originals looks at. Refuses to name a problem without the file it concerns.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file operation that failed: what was tried, on which file, and why.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}", path.display())]
pub struct FileError {
    /// The verb, such as `write` or `read`.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The operating system's answer.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// Pairs an I/O error with the file it concerns.
    pub fn new(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            action,
            path: path.into(),
            source,
        }
    }
}

/// Opens a regular file for reading. A pipe of that name would keep its reader waiting for a writer, perhaps for ever.
///
/// # Errors
/// When there is no such file, it is something else than a file, or cannot be read.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

/// What is in a regular file; `None` where there is none.
///
/// # Errors
/// As [`open_regular`], but for an absent file.
pub(crate) fn read_regular(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match open_regular(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The operating system's answer alone: `tempfile` adds the name of its temporary file, which nobody who
/// reads the message has ever heard of, and gives no other access to what lies behind.
pub(crate) fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path \"") {
        Some((cause, _)) => io::Error::new(error.kind(), cause.to_owned()),
        None => error,
    }
}

/// How far a finished file must have got before [`AtomicFile::commit`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Renamed: survives a crash of this process. Right for what can be made again, such as charts.
    Renamed,
    /// Flushed to the device before the rename: survives a crash of the machine.
    Synced,
}

/// A file being written under a temporary name; [`AtomicFile::commit`] gives it its own.
///
/// Dropped without a commit it disappears, and what stood under the name stays as it was.
#[derive(Debug)]
pub struct AtomicFile {
    writer: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl AtomicFile {
    /// Opens the temporary file beside `path`, with the permissions an ordinary new file would get.
    ///
    /// # Errors
    /// When the directory does not exist or cannot be written.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        Self::create_with_mode(path, 0o666)
    }

    /// As [`AtomicFile::create`], with `mode` (reduced by the umask) where files have modes.
    ///
    /// # Errors
    /// When the directory does not exist or cannot be written.
    pub fn create_with_mode(path: &Path, mode: u32) -> Result<Self, FileError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        let permissions = permissions_of(mode);
        if let Some(permissions) = permissions {
            builder.permissions(permissions);
        }
        let temp = builder
            .tempfile_in(directory_of(path))
            .map_err(|e| FileError::new("create", path, without_path(e)))?;
        Ok(Self {
            writer: BufWriter::with_capacity(64 * 1024, temp),
            path: path.to_owned(),
        })
    }

    /// Gives the file its name, replacing what stood there, and returns the open file with its cursor
    /// at the end.
    ///
    /// # Errors
    /// When the last bytes cannot be written or the rename fails; the old file then stands unchanged.
    pub fn commit(self, durability: Durability) -> Result<File, FileError> {
        let path = self.path;
        let temp = self
            .writer
            .into_inner()
            .map_err(|e| FileError::new("write", &path, e.into_error()))?;
        if durability == Durability::Synced {
            temp.as_file()
                .sync_all()
                .map_err(|e| FileError::new("write", &path, e))?;
        }
        let file = temp
            .persist(&path)
            .map_err(|e| FileError::new("replace", &path, e.error))?;
        if durability == Durability::Synced {
            sync_directory(directory_of(&path));
        }
        Ok(file)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Replaces `path` by `bytes` in one step.
///
/// # Errors
/// When the directory cannot be written or the disk is full; the old file then stands unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_with(path, Durability::Renamed, |w| w.write_all(bytes))
}

/// Replaces `path` by whatever `fill` writes, in one step; nothing is replaced when `fill` fails.
///
/// # Errors
/// As [`write`], and whatever `fill` returns.
pub fn write_with(
    path: &Path,
    durability: Durability,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file).map_err(|e| FileError::new("write", path, e))?;
    file.commit(durability)?;
    Ok(())
}

/// Directory a file lies in; a bare name lies in the current one.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Makes the rename itself durable. Not every file system lets a directory be synced, and the content
/// is safe without it, so a refusal is no error.
fn sync_directory(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        dir.sync_all().ok();
    }
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the other platforms have no modes"
)]
fn permissions_of(mode: u32) -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn permissions_of(_mode: u32) -> Option<Permissions> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.csv");
        write(&path, b"old").unwrap();
        let refused = write_with(&path, Durability::Renamed, |w| {
            w.write_all(b"half of the ne")?;
            Err(io::Error::other("disk full"))
        });
        assert!(refused.unwrap_err().to_string().contains("summary.csv"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_file_and_keeps_its_cause() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent").join("x.csv");
        let error = write(&path, b"").unwrap_err();
        assert!(error.to_string().contains("x.csv"));
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    }

    /// A reader that opens the name at any moment sees one of the complete contents.
    #[test]
    fn a_reader_never_sees_half_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress.json");
        let contents: Vec<Vec<u8>> = (b'a'..=b'e').map(|c| vec![c; 300_000]).collect();
        write(&path, &contents[0]).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for content in contents.iter().cycle().take(60) {
                    write(&path, content).unwrap();
                }
                done.store(true, Ordering::Release);
            });
            let mut n_reads = 0;
            while !done.load(Ordering::Acquire) || n_reads == 0 {
                let seen = std::fs::read(&path).unwrap();
                assert!(contents.contains(&seen), "{} bytes", seen.len());
                n_reads += 1;
            }
        });
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_gets_the_permissions_any_new_file_gets() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("a"), dir.path().join("b"));
        write(&ours, b"x").unwrap();
        std::fs::write(&plain, b"x").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
