//! The shims in the suite's own directory, among what people have there: a virtual environment, results, a study that is
//! half done.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::page::{self, Home};
use super::{Running, wait_for};
use crate::simulator::Simulator;

/// A short study.
const STUDY: &str = "--context-sizes 1000 --working-set-size 8000 --mode fixed --fixed-concurrency-levels 1 \
                     --ramp-duration 1 --cache-hit-rates 0 50 --output-tokens 8 --calibrate off --output-dir output";

/// Goes the page's way, and back.
pub(super) fn check(home: &Home) -> Result<()> {
    let suite = home.suite();
    home.add_originals()?;
    home.run("cd ~/kv-cache-suite\npython3 -m venv venv\n")?;
    let server = Simulator::start(
        &home.bundle().join("bin/kv_cache_sim"),
        &["--time-scale", "1000"],
    )?;
    let study = format!("--api-endpoint {} {STUDY}", server.url());
    let mut half = Running(
        Command::new(home.bundle().join("bin/cache_rate_tester"))
            .args(study.split_whitespace())
            .current_dir(&suite)
            .stderr(Stdio::null())
            .spawn()
            .context("starting cache_rate_tester")?,
    );
    wait_for(&mut half, &suite.join("output"), has_finished_test)?;
    half.stop("TERM", 143)?;

    let script = home.path().join("my-old-script.sh");
    std::fs::write(
        &script,
        format!(
            "#!/bin/bash -e\ncd kv-cache-suite\nsource venv/bin/activate\npip install -r requirements.txt\n\
             python cache_rate_tester.py {study}\npython generate_index.py ./output\n"
        ),
    )?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    let run = home.run(&page::lines("cd ~ && ./my-old-script.sh")?)?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(
        said.contains("Resuming from previous progress")
            && !said.contains("previous progress: 0 tests")
            && suite.join("output/index.html").exists(),
        "an old script does not continue the half-done study in its directory: {said}"
    );
    ensure!(
        suite.join("trace_replay_tester.py").exists(),
        "an original without a successor is gone"
    );
    home.run(&page::lines("cp originals/* . && rm bin")?)?;
    ensure!(
        home.has_originals()? && suite.join("output/progress.json").exists(),
        "the originals are not back in {}",
        suite.display()
    );
    std::fs::remove_dir_all(&suite)?;
    Ok(())
}

/// Whether a study's progress names a test that is done; the file itself is there from the beginning.
fn has_finished_test(dir: &Path) -> bool {
    std::fs::read(dir.join("progress.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        .and_then(|progress| Some(!progress["completed_tests"].as_array()?.is_empty()))
        .unwrap_or(false)
}
