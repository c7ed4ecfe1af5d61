//! A `tar.gz` whose bytes follow from its files and one time stamp.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::Files;

/// Writes `DIR/STEM.tar.gz` with every file below `STEM/`, and answers with its path.
pub(crate) fn write(dir: &Path, stem: &str, files: &Files, time: u64) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let path = dir.join(format!("{stem}.tar.gz"));
    // No time and no name in gzip's own header; the system it names is always "unknown".
    let gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::best());
    let gzip = pack(gzip, stem, files, time)?;
    write_whole(&path, &gzip.finish()?)?;
    Ok(path)
}

/// Writes a file under another name first: whoever reads it meanwhile, or writes the same one in another run, finds a
/// whole one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut unfinished = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
        unfinished.write_all(bytes)?;
        unfinished.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

fn pack<W: Write>(to: W, stem: &str, files: &Files, time: u64) -> Result<W> {
    let mut tar = Builder::new(to);
    for (path, file) in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(time);
        header.set_size(file.bytes.len() as u64);
        tar.append_data(&mut header, format!("{stem}/{path}"), file.bytes.as_slice())
            .with_context(|| format!("packing {path}"))?;
    }
    Ok(tar.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::Packed;

    #[test]
    fn the_same_files_are_the_same_bytes_and_programs_can_be_run() {
        let mut files = Files::new();
        for (path, executable) in [("bin/tool", true), ("README.md", false)] {
            let bytes = path.as_bytes().to_vec();
            files.insert(path.to_owned(), Packed { bytes, executable });
        }
        let once = pack(Vec::new(), "p", &files, 7).unwrap();
        assert_eq!(once, pack(Vec::new(), "p", &files, 7).unwrap());
        let mut read = tar::Archive::new(once.as_slice());
        let entries: Vec<(String, u32, u64)> = read
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let header = entry.header();
                (path, header.mode().unwrap(), header.mtime().unwrap())
            })
            .collect();
        assert_eq!(
            entries,
            [
                ("p/README.md".to_owned(), 0o644, 7),
                ("p/bin/tool".to_owned(), 0o755, 7)
            ]
        );
    }
}
