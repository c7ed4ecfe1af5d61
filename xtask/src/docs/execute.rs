//! Runs the boxes of a page as a reader would, in one shell, against the simulated server.
//!
//! What is changed: the ports, because 8000 and 8001 may be taken; and how long a tester measures, because a reader waits
//! for hours and a check does not. Everything else is run as it stands.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use xshell::Shell;

use super::page::Block;

/// What is put behind a tester's own options: the last occurrence of an option wins.
const SHORTER: &[(&str, &str)] = &[
    (
        "cache_rate_tester",
        "--ramp-duration 1 --test-duration 4 --assessment-period 2 --num-retries 0 --max-concurrency 8 --output-tokens 8 \
         --context-sizes 1000 --working-set-size 8000 --cache-hit-rates 0 50 100 --calibrate off",
    ),
    (
        "working_set_tester",
        "--ramp-duration 1 --test-duration 6 --assessment-period 2 --num-retries 0 --max-concurrency 8 --output-tokens 8 \
         --context-sizes 1000 --min-working-set-size 4000 --max-working-set-size 8000 --working-set-increments 2 \
         --calibrate off",
    ),
];

/// Runs the boxes of one page, in order, in an empty directory.
pub(super) fn page(shell: &Shell, bin: &Path, path: &Path, boxes: &[&Block]) -> Result<()> {
    let work = shell.create_temp_dir()?;
    let programs = work.path().join("bin");
    std::fs::create_dir(&programs)?;
    for entry in std::fs::read_dir(bin).with_context(|| format!("listing {}", bin.display()))? {
        let program = entry?.path();
        if program.is_file() && program.metadata()?.permissions().mode() & 0o111 != 0 {
            wrap(&program, &programs)?;
        }
    }
    let port = free_port()?;
    let mut script =
        String::from("set -eo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    let text: String = boxes
        .iter()
        .map(|block| format!(": 'box of line {}'\n{}", block.line, block.text))
        .collect();
    // A page's own server listens on 8000, or on 8001 where 8000 is the reader's.
    let text = with_port(&with_port(&text, 8000, port), 8001, free_port()?);
    if text.contains(&format!(":{port}")) && !text.contains(&format!("kv_cache_sim --port {port}"))
    {
        script.push_str(&format!(
            "kv_cache_sim --port {port} --time-scale 100 >/dev/null 2>&1 &\nsleep 1\n"
        ));
    }
    script.push_str(&text);
    let dir = work.path().join("work");
    std::fs::create_dir(&dir)?;
    let mut path_variable = programs.clone().into_os_string();
    path_variable.push(":");
    path_variable.push(std::env::var_os("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-xc", &script])
        .current_dir(&dir)
        .env("PATH", path_variable)
        // Model ids are answered from the built-in table, so that the check does not depend on the Hub.
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null())
        .output()
        .context("starting bash")?;
    if !output.status.success() {
        std::io::stderr().write_all(&output.stdout)?;
        std::io::stderr().write_all(&output.stderr)?;
    }
    ensure!(
        output.status.success(),
        "the commands of {} ended with {}",
        path.display(),
        output.status
    );
    Ok(())
}

/// Puts a program into `to`: by a link, or with shorter durations behind its arguments.
fn wrap(program: &Path, to: &Path) -> Result<()> {
    let name = program.file_name().context("a program without a name")?;
    let at = to.join(name);
    match SHORTER.iter().find(|(tool, _)| name == *tool) {
        None => std::os::unix::fs::symlink(program, at)?,
        Some((_, tail)) => {
            let program = program.display();
            let script = format!(
                "#!/bin/sh\ncase \" $* \" in *' --help '*|*' --version '*) exec '{program}' \"$@\" ;; esac\n\
                 exec '{program}' \"$@\" {tail}\n"
            );
            std::fs::write(&at, script)?;
            std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// The text with another port for servers of this machine.
fn with_port(text: &str, written: u16, used: u16) -> String {
    ["localhost:", "127.0.0.1:", "--port "]
        .iter()
        .fold(text.to_owned(), |text, before| {
            text.replace(&format!("{before}{written}"), &format!("{before}{used}"))
        })
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
