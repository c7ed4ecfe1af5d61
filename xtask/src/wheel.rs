//! `cargo xtask wheel`: the released tools as a Python wheel, so that `pip install` and `uv tool install` put them on
//! the path.
//!
//! Promise: packs what the release build left and compiles nothing anew; the bytes follow from the commit, as the
//! bundle's do. The platform tag is read from the programs: the newest glibc that one of them asks for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::dist::{self, Packed, Source};
use crate::{demo, shims, workspace};

/// Name of the distribution in file names, where a dash is not allowed.
const DISTRIBUTION: &str = "kv_cache_tester";

/// Options of the wheel.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install it in a fresh virtual environment, and with uv where that is at hand, and run the demo from there.
    #[arg(long)]
    check: bool,
    /// Write the wheel to this directory [default: dist in cargo's target directory].
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

/// A file of the wheel.
struct Member {
    bytes: Vec<u8>,
    executable: bool,
}

/// Packs the wheel, and checks it if that was asked for.
pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(workspace::root());
    let out = match &args.out_dir {
        Some(given) => std::path::absolute(given)?,
        None => workspace::target_directory()?.join("dist"),
    };
    let tools = workspace::tools()?;
    let built = workspace::build_released(&shell, None, &tools)?;
    let version = workspace::version()?;
    let stem = format!("{DISTRIBUTION}-{version}");

    let mut members = BTreeMap::new();
    let mut add = |path: String, bytes: Vec<u8>, executable: bool| {
        members.insert(path, Member { bytes, executable });
    };
    let mut glibc = (2, 17);
    for tool in &tools {
        let bytes = dist::stripped(&shell, &built.join(tool))?;
        glibc = glibc.max(newest_glibc(&bytes).with_context(|| {
            format!("{tool} asks for no glibc: wheels are made on Linux with the GNU C library")
        })?);
        add(format!("{stem}.data/scripts/{tool}"), bytes, true);
    }
    for (path, bytes) in dist::manual(&shell, &tools)? {
        add(format!("{stem}.data/data/share/{path}"), bytes, false);
    }
    let tag = tag(&dist::host(&shell)?, glibc)?;
    let info = format!("{stem}.dist-info");
    let root = workspace::root();
    let (mut licences, terms) = dist::licence_files(&tools, &dist::host(&shell)?)?;
    licences.insert(
        "LICENSE".to_owned(),
        Packed {
            bytes: std::fs::read(root.join("LICENSE"))?,
            executable: false,
        },
    );
    let metadata = metadata(&version, &terms, licences.keys());
    for (path, file) in licences {
        add(format!("{info}/licenses/{path}"), file.bytes, false);
    }
    add(format!("{info}/METADATA"), metadata.into_bytes(), false);
    add(
        format!("{info}/WHEEL"),
        format!(
            "Wheel-Version: 1.0\nGenerator: cargo xtask wheel ({version})\nRoot-Is-Purelib: false\nTag: {tag}\n"
        )
        .into_bytes(),
        false,
    );
    let record = record(&members, &info);
    members.insert(
        format!("{info}/RECORD"),
        Member {
            bytes: record.into_bytes(),
            executable: false,
        },
    );

    std::fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
    let path = out.join(format!("{stem}-{tag}.whl"));
    let bytes = zipped(&members, Source::of(&shell)?.time)?;
    dist::write_whole(&path, &bytes)?;
    eprintln!(
        "Packed {} tools, {:.1} MB: {}\nSHA-256 {}",
        tools.len(),
        bytes.len() as f64 / 1e6,
        path.display(),
        dist::sha256(&bytes)
    );
    if args.check {
        check(&shell, &path, &tools, &version)?;
    }
    Ok(())
}

/// The long description; the README's pictures and links lead nowhere outside the repository.
const DESCRIPTION: &str = include_str!("wheel/DESCRIPTION.md");

/// Core metadata: the terms of everything that is compiled in, and every text of them.
fn metadata<'a>(
    version: &str,
    terms: &str,
    licence_files: impl Iterator<Item = &'a String>,
) -> String {
    let licence_files: String = licence_files
        .map(|path| format!("License-File: {path}\n"))
        .collect();
    format!(
        "Metadata-Version: 2.4\nName: {}\nVersion: {version}\nSummary: Measures the prefix-cache behaviour of LLM inference \
         servers\nLicense-Expression: {terms}\n{licence_files}Requires-Python: >=3.8\n\
         Classifier: Operating System :: POSIX :: Linux\nDescription-Content-Type: text/markdown\n\n{DESCRIPTION}",
        dist::PRODUCT
    )
}

/// `py3-none-manylinux_2_34_x86_64`: for any Python 3, and any Linux with that glibc or a newer one.
fn tag(host: &str, glibc: (u32, u32)) -> Result<String> {
    let architecture = host.split('-').next().unwrap_or_default();
    ensure!(
        host.ends_with("linux-gnu"),
        "wheels are made on Linux with the GNU C library, not on {host}"
    );
    Ok(format!(
        "py3-none-manylinux_{}_{}_{architecture}",
        glibc.0, glibc.1
    ))
}

/// The highest `GLIBC_x.y` among a program's version names.
pub(crate) fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    program
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK)
        .filter_map(|(at, _)| {
            let rest = program.get(at + MARK.len()..)?;
            let end = rest.iter().position(|byte| *byte == 0)?;
            let version = std::str::from_utf8(rest.get(..end)?).ok()?;
            let mut parts = version.split('.').map(str::parse);
            Some((parts.next()?.ok()?, parts.next()?.ok()?))
        })
        .max()
}

/// `path,sha256=…,size` of each file, as the wheel format asks for.
fn record(members: &BTreeMap<String, Member>, info: &str) -> String {
    let mut record = String::new();
    for (path, member) in members {
        // Writing to a string cannot fail.
        let _ = writeln!(
            record,
            "{path},sha256={},{}",
            base64_url(&dist::digest(&member.bytes)),
            member.bytes.len()
        );
    }
    let _ = writeln!(record, "{info}/RECORD,,");
    record
}

/// Base 64 in the URL's alphabet, without padding.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, byte)| {
            word | u32::from(*byte) << (16 - 8 * i)
        });
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63]));
        }
    }
    text
}

/// The archive: sorted, one time for all, programs marked as such.
fn zipped(members: &BTreeMap<String, Member>, time: u64) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, member) in members {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(calendar(time)?)
            .unix_permissions(if member.executable { 0o755 } else { 0o644 });
        zip.start_file(path.as_str(), options)
            .with_context(|| format!("packing {path}"))?;
        zip.write_all(&member.bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// Unix seconds as a zip says them: UTC, from 1980 on.
fn calendar(time: u64) -> Result<DateTime> {
    let (days, seconds) = (time / 86_400, time % 86_400);
    // Days to year, month and day by eras of 400 years that begin in March (Hinnant, "chrono-compatible low-level date
    // algorithms").
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    DateTime::from_date_and_time(
        u16::try_from(year)?,
        u8::try_from(month)?,
        u8::try_from(day)?,
        u8::try_from(seconds / 3_600)?,
        u8::try_from(seconds / 60 % 60)?,
        u8::try_from(seconds % 60)?,
    )
    .map_err(|error| anyhow::anyhow!("{error}"))
    .context("a time that no zip can say")
}

/// Installs it where nothing else is, and uses it.
fn check(shell: &Shell, wheel: &Path, tools: &[String], version: &str) -> Result<()> {
    let work = shell.create_temp_dir()?;
    let venv = work.path().join("venv");
    cmd!(shell, "python3 -m venv {venv}").quiet().run()?;
    let bin = venv.join("bin");
    let pip = bin.join("pip");
    cmd!(
        shell,
        "{pip} install --quiet --no-index --disable-pip-version-check {wheel}"
    )
    .quiet()
    .run()?;
    check_versions(shell, &bin, tools, version)?;
    for tool in tools {
        for path in [
            format!("share/man/man1/{tool}.1"),
            format!("share/bash-completion/completions/{tool}"),
        ] {
            ensure!(venv.join(&path).exists(), "no {path} in the environment");
        }
    }
    let programs = demo::Programs::of(&bin);
    demo::run_in(&programs, &work.path().join("demo"), demo::Pace::QUICK)?;
    cmd!(
        shell,
        "{pip} uninstall --quiet --yes --disable-pip-version-check {DISTRIBUTION}"
    )
    .quiet()
    .run()?;
    for tool in tools {
        ensure!(!bin.join(tool).exists(), "{tool} outlives its uninstall");
    }
    let audited = check_tag(wheel)?;
    let by_uv = shims::has_uv();
    if by_uv {
        check_uv(shell, wheel, tools, version)?;
    }
    eprintln!(
        "The wheel works: {}, installed by pip{}, {} tools, the demo, uninstalled",
        if audited {
            "its tag is auditwheel's"
        } else {
            "(auditwheel is not on PATH: tag not verified)"
        },
        if by_uv {
            " and by uv tool"
        } else {
            " (uv is not on PATH: not tried)"
        },
        tools.len()
    );
    Ok(())
}

/// That auditwheel, which reads the programs in its own way, gives the wheel the tag that is in its name; whether it is there
/// to be asked.
fn check_tag(wheel: &Path) -> Result<bool> {
    let Ok(shown) = Command::new("auditwheel").arg("show").arg(wheel).output() else {
        return Ok(false);
    };
    let name = wheel.file_stem().and_then(|stem| stem.to_str());
    let tag = name.and_then(|name| name.rsplit('-').next());
    let tag = tag.context("a wheel without a tag")?;
    let said = String::from_utf8_lossy(&shown.stdout);
    // Its lines are broken at the terminal's width, words whole.
    let words: Vec<&str> = said.split_whitespace().collect();
    ensure!(
        shown.status.success() && words.join(" ").contains(&consistent(tag)),
        "auditwheel does not confirm {tag}: {said}{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    Ok(true)
}

/// How auditwheel says that a wheel fits a tag.
fn consistent(tag: &str) -> String {
    format!("is consistent with the following platform tag: \"{tag}\"")
}

/// Every tool is there and of this version.
fn check_versions(shell: &Shell, bin: &Path, tools: &[String], version: &str) -> Result<()> {
    for tool in tools {
        let program = bin.join(tool);
        let told = cmd!(shell, "{program} --version").quiet().read()?;
        if told != format!("{tool} {version}") {
            bail!("{tool} --version says {told:?}");
        }
    }
    Ok(())
}

/// `uv tool install` and `uninstall`, in places that are nobody's.
fn check_uv(shell: &Shell, wheel: &Path, tools: &[String], version: &str) -> Result<()> {
    let work = shell.create_temp_dir()?;
    let bin = work.path().join("bin");
    let _environment = [
        ("UV_TOOL_DIR", work.path().join("tools")),
        ("UV_TOOL_BIN_DIR", bin.clone()),
        ("UV_CACHE_DIR", work.path().join("cache")),
    ]
    .map(|(name, dir)| shell.push_env(name, dir));
    let _offline = shell.push_env("UV_OFFLINE", "1");
    let _python = shell.push_env("UV_PYTHON_DOWNLOADS", "never");
    cmd!(shell, "uv tool install --quiet --no-index {wheel}")
        .quiet()
        .run()?;
    check_versions(shell, &bin, tools, version)?;
    let name = dist::PRODUCT;
    cmd!(shell, "uv tool uninstall --quiet {name}")
        .quiet()
        .run()?;
    for tool in tools {
        ensure!(!bin.join(tool).exists(), "{tool} outlives its uninstall");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_the_standards() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
        ] {
            assert_eq!(base64_url(bytes.as_bytes()), text);
        }
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn the_description_names_every_tool_and_links_to_nothing_that_is_not_packed() {
        for tool in workspace::tools().unwrap() {
            assert!(DESCRIPTION.contains(&format!("`{tool}`")), "{tool}");
        }
        assert!(!DESCRIPTION.contains("]("));
    }

    #[test]
    fn every_packed_licence_is_in_the_metadata() {
        let files = ["LICENSE".to_owned(), "ring-1/LICENSE".to_owned()];
        let text = metadata("1", "Apache-2.0 AND ISC", files.iter());
        for line in [
            "License-Expression: Apache-2.0 AND ISC",
            "License-File: LICENSE",
            "License-File: ring-1/LICENSE",
        ] {
            assert!(text.lines().any(|told| told == line), "{text}");
        }
    }

    #[test]
    fn the_newest_glibc_counts_and_numbers_are_no_words() {
        let program = b"..GLIBC_2.9\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_2.2.5\0";
        assert_eq!(newest_glibc(program), Some((2, 34)));
        assert_eq!(newest_glibc(b"static"), None);
    }

    #[test]
    fn times_are_utc_and_know_leap_days() {
        for (time, told) in [
            (315_532_800, (1980, 1, 1, 0, 0)),
            (1_709_164_800, (2024, 2, 29, 0, 0)),
            (1_763_800_199, (2025, 11, 22, 8, 29)),
        ] {
            let at = calendar(time).unwrap();
            assert_eq!(
                (at.year(), at.month(), at.day(), at.hour(), at.minute()),
                told
            );
        }
        assert!(calendar(0).is_err());
    }

    #[test]
    fn an_archive_is_a_function_of_its_members() {
        let mut members = BTreeMap::new();
        for (path, executable) in [("d/tool", true), ("d/RECORD", false)] {
            let bytes = path.repeat(100).into_bytes();
            members.insert(path.to_owned(), Member { bytes, executable });
        }
        let once = zipped(&members, 1_763_800_199).unwrap();
        assert_eq!(once, zipped(&members, 1_763_800_199).unwrap());
        let mut read = zip::ZipArchive::new(Cursor::new(once)).unwrap();
        assert_eq!(
            read.by_name("d/tool").unwrap().unix_mode().unwrap() & 0o777,
            0o755
        );
        assert!(record(&members, "d").ends_with("d/RECORD,,\n"));
    }
}
