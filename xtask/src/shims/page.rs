//! The lines of `docs/migration.md`, and a home directory in which they are run as they stand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{dist, docs};

const PAGE: &str = "docs/migration.md";
/// The bundle's name on the page, which stands for the one that is tried.
const BUNDLE: &str = "kv-cache-tester-0.1.0-x86_64-unknown-linux-gnu";
/// The directory with the Python programs on the page.
const SUITE: &str = "kv-cache-suite";
/// An original, as far as its place is concerned.
const ORIGINAL: &str = "raise SystemExit('the original')\n";

/// The box of the page that has this line.
pub(super) fn lines(having: &str) -> Result<String> {
    docs::boxes(PAGE)?
        .into_iter()
        .find(|text| text.lines().any(|line| line == having))
        .with_context(|| format!("{PAGE} has no box with the line `{having}`"))
}

/// A home directory with the archive in it, and the Python suite.
pub(super) struct Home {
    dir: PathBuf,
    /// The archive's name without its ending.
    stem: String,
}

impl Home {
    /// Unpacks the archive in `dir`; the archive itself is there too.
    pub(super) fn with(archive: &Path, dir: &Path) -> Result<Self> {
        let name = archive.file_name().context("an archive without a name")?;
        let sum = format!("{}.sha256", archive.display());
        std::fs::copy(archive, dir.join(name))?;
        let name = name.to_string_lossy();
        std::fs::copy(&sum, dir.join(format!("{name}.sha256"))).with_context(|| sum.clone())?;
        dist::unpack(archive, dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            stem: name.trim_end_matches(".tar.gz").to_owned(),
        })
    }

    /// The home directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// The unpacked bundle.
    pub(super) fn bundle(&self) -> PathBuf {
        self.dir.join(&self.stem)
    }

    /// Where scripts look for the Python suite.
    pub(super) fn suite(&self) -> PathBuf {
        self.dir.join(SUITE)
    }

    /// Puts files with the originals' names into the suite's directory, and one that has no successor.
    pub(super) fn add_originals(&self) -> Result<()> {
        std::fs::create_dir_all(self.suite())?;
        for name in self.original_names()? {
            std::fs::write(self.suite().join(name), ORIGINAL)?;
        }
        // What no index has: installing it would fail.
        std::fs::write(
            self.suite().join("requirements.txt"),
            "a-package-that-is-nowhere==0\n",
        )?;
        Ok(())
    }

    /// Whether all of them are there.
    pub(super) fn has_originals(&self) -> Result<bool> {
        let is_original = |name: String| {
            std::fs::read_to_string(self.suite().join(name)).is_ok_and(|text| text == ORIGINAL)
        };
        Ok(self.original_names()?.into_iter().all(is_original))
    }

    fn original_names(&self) -> Result<Vec<String>> {
        let mut names = vec!["trace_replay_tester.py".to_owned()];
        for entry in std::fs::read_dir(self.bundle().join("scripts"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.ends_with(".py").then_some(name));
        }
        ensure!(names.len() > 1, "the bundle has no shims");
        Ok(names)
    }

    /// Runs lines of the page in a shell whose home this is.
    pub(super) fn run(&self, lines: &str) -> Result<Output> {
        let script = format!("set -e\n{}", lines.replace(BUNDLE, &self.stem));
        let run = Command::new("bash")
            .args(["-c", &script])
            .current_dir(&self.dir)
            .env("HOME", &self.dir)
            .stdin(Stdio::null())
            .output()
            .context("starting bash")?;
        ensure!(run.status.success(), "{script}: {run:?}");
        Ok(run)
    }
}
