//! The time stamp in file names: taken once per run, shared by all its files, and what "newest" means.
//!
//! Promise: two runs never share a stamp in one directory (the second gets `_2`), and the order of
//! files is the order of the stamps in their names first, so that it survives a copy, an archive or a
//! checkout, which all change modification times. Refuses to read dates out of anything but the end of
//! a name.

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Zoned;

/// Local time of a run's start, `YYYYMMDD_HHMMSS`, with `_2`, `_3` … where that second was taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunStamp {
    /// The whole text as it stands in file names.
    text: String,
    /// 1 for a plain stamp, the number behind it otherwise.
    repeat: u32,
}

/// Length of `YYYYMMDD_HHMMSS`.
const PLAIN_LEN: usize = 15;

impl RunStamp {
    /// The stamp of a run that starts `now`, a local time, and writes into `dir` (which need not exist yet).
    #[must_use]
    pub fn take(dir: &Path, now: &Zoned) -> Self {
        let plain = now.strftime("%Y%m%d_%H%M%S").to_string();
        let taken = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Self::of_file_name(&entry.file_name().to_string_lossy()))
            .filter(|stamp| stamp.plain() == plain)
            .map(|stamp| stamp.repeat)
            .max();
        match taken {
            None => Self {
                text: plain,
                repeat: 1,
            },
            Some(highest) => Self {
                text: format!("{plain}_{}", highest + 1),
                repeat: highest + 1,
            },
        }
    }

    /// Reads a stamp, `YYYYMMDD_HHMMSS` or `YYYYMMDD_HHMMSS_<n>` with n ≥ 2.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.get(..PLAIN_LEN)?;
        if !is_plain(plain) {
            return None;
        }
        let repeat = match &text[PLAIN_LEN..] {
            "" => 1,
            rest => parse_repeat(rest.strip_prefix('_')?)?,
        };
        Some(Self {
            text: text.to_owned(),
            repeat,
        })
    }

    /// The stamp at the end of a file name, before the extension; `None` where there is none.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        stem.char_indices()
            .filter(|&(i, _)| i == 0 || stem.as_bytes()[i - 1] == b'_')
            .find_map(|(i, _)| Self::parse(&stem[i..]))
    }

    /// The text in file names.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `YYYY-MM-DD HH:MM:SS` for a person.
    #[must_use]
    pub fn human(&self) -> String {
        let t = &self.text;
        format!(
            "{}-{}-{} {}:{}:{}",
            &t[0..4],
            &t[4..6],
            &t[6..8],
            &t[9..11],
            &t[11..13],
            &t[13..15]
        )
    }

    fn plain(&self) -> &str {
        &self.text[..PLAIN_LEN]
    }
}

/// `12345678_123456`, digits only.
fn is_plain(text: &str) -> bool {
    text.len() == PLAIN_LEN
        && text.bytes().enumerate().all(|(i, b)| {
            if i == 8 {
                b == b'_'
            } else {
                b.is_ascii_digit()
            }
        })
}

/// The number behind a stamp: at least 2, without leading zeros.
fn parse_repeat(text: &str) -> Option<u32> {
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&n| n >= 2)
}

impl fmt::Display for RunStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for RunStamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.plain(), self.repeat).cmp(&(other.plain(), other.repeat))
    }
}

impl PartialOrd for RunStamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A file of a result directory with what decides its age.
///
/// The order is oldest first: by stamp, then by modification time, then by name. A file without a
/// stamp is older than any file with one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StampedFile {
    /// Stamp in the name.
    pub stamp: Option<RunStamp>,
    /// Modification time, where the file system tells one.
    pub modified: Option<SystemTime>,
    /// Name without the directory.
    pub name: String,
    /// Whole path.
    pub path: PathBuf,
}

impl StampedFile {
    /// Describes the file at `path`.
    #[must_use]
    pub fn of(path: PathBuf) -> Self {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            stamp: RunStamp::of_file_name(&name),
            modified: std::fs::metadata(&path).and_then(|m| m.modified()).ok(),
            name,
            path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn a_stamp_is_local_time_and_a_taken_second_gets_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let now = at("2026-11-22T01:08:48.9+09:00[Asia/Tokyo]");
        let first = RunStamp::take(dir.path(), &now);
        assert_eq!(first.as_str(), "20261122_010848");
        assert_eq!(first.human(), "2026-11-22 01:08:48");
        for (name, expected) in [
            ("run_command_20261122_010848.sh", "20261122_010848_2"),
            ("summary_20261122_010848_2.csv", "20261122_010848_3"),
            ("summary_20261122_010849.csv", "20261122_010848_3"),
            ("phase_metadata_20261122_010848_9.csv", "20261122_010848_10"),
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
            assert_eq!(RunStamp::take(dir.path(), &now).as_str(), expected);
        }
    }

    #[test]
    fn stamps_are_found_at_the_end_of_names_only() {
        let check = |name: &str, expected: Option<&str>| {
            let found = RunStamp::of_file_name(name);
            assert_eq!(found.as_ref().map(RunStamp::as_str), expected, "{name}");
        };
        check("summary_20261122_010848.csv", Some("20261122_010848"));
        check("summary_20261122_010848_2.csv", Some("20261122_010848_2"));
        check(
            "detailed_results_1000_20261122_010848.csv",
            Some("20261122_010848"),
        );
        check(
            "detailed_results_20261122_20261122_010848.csv",
            Some("20261122_010848"),
        );
        check(
            "sustained_periods_ctx1000_cache0_20261122_010854.csv",
            Some("20261122_010854"),
        );
        check("20261122_010848", Some("20261122_010848"));
        check("summary_20261122_010848_1.csv", None);
        check("summary_20261122_010848_02.csv", None);
        check("summary_20261122_010848_x.csv", None);
        check("summary_comparison.csv", None);
        check("summary_x20261122_010848.csv", None);
        check("summary_2026112é_010848.csv", None);
        check("", None);
    }

    /// A stamp survives printing and parsing, alone and as the end of a name.
    #[test]
    fn stamps_round_trip() {
        proptest!(|(day in 10_000_000u32..99_999_999, second in 0u32..240_000, n in 1u32..500)| {
            let mut text = format!("{day}_{second:06}");
            if n > 1 {
                text.push_str(&format!("_{n}"));
            }
            let stamp = RunStamp::parse(&text).unwrap();
            prop_assert_eq!(stamp.as_str(), &text);
            let name = format!("detailed_results_8000_{text}.csv");
            prop_assert_eq!(RunStamp::of_file_name(&name), Some(stamp));
        });
    }

    #[test]
    fn newest_means_stamp_then_modification_then_name() {
        let dir = tempfile::tempdir().unwrap();
        // Written in an order that contradicts the stamps, as after a copy.
        let names = [
            "summary_20261122_010900.csv",
            "summary_20261122_010848_10.csv",
            "summary_20261122_010848_9.csv",
            "summary_20261122_010848.csv",
            "summary_old.csv",
        ];
        for name in names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let mut files: Vec<StampedFile> = names
            .iter()
            .rev()
            .map(|n| StampedFile::of(dir.path().join(n)))
            .collect();
        files.sort();
        let sorted: Vec<&str> = files.iter().rev().map(|f| f.name.as_str()).collect();
        assert_eq!(sorted, names);
    }
}
