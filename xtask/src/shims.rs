//! `cargo xtask shims`: the user's own commands, through `sh` and Python, with the tools of the packed release.
//!
//! Both ways of `docs/migration.md` are gone by that page's own lines: the shims in the suite's directory, then a link in
//! place of it.

mod in_place;
mod page;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use xshell::Shell;

use crate::simulator::Simulator;
use crate::{dist, workspace};
use page::Home;

/// How long a run may take to write what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of the check.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Use this archive [default: the one that `cargo xtask release` wrote for the host].
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
}

/// Unpacks the release and uses its shims as scripts use the originals.
pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(workspace::root());
    let archive = match &args.archive {
        Some(given) => std::path::absolute(given)?,
        None => workspace::target_directory()?.join(format!(
            "dist/{}-{}-{}.tar.gz",
            dist::PRODUCT,
            workspace::version()?,
            dist::host(&shell)?
        )),
    };
    ensure!(
        archive.exists(),
        "{} is not there: cargo xtask release",
        archive.display()
    );
    let work = shell.create_temp_dir()?;
    let home = Home::with(&archive, work.path())?;
    in_place::check(&home)?;
    let suite = Suite {
        home: &home,
        bundle: home.bundle(),
    };
    suite.move_in()?;
    suite.install()?;
    let tools = workspace::tools()?;
    let shims: Vec<String> = tools.iter().filter_map(|tool| suite.shim(tool)).collect();
    for tool in &tools {
        if let Some(shim) = suite.shim(tool) {
            suite.same_text_and_codes(tool, &shim)?;
        }
    }
    let server = Simulator::start(
        &suite.bundle.join("bin/kv_cache_sim"),
        &["--time-scale", "1000"],
    )?;
    suite.quick_start(server.url())?;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        suite.stopped(server.url(), signal, code)?;
    }
    suite.move_out()?;
    eprintln!(
        "The shims work: {} of them, as python X.py, ./X.py{}; in the suite's directory with its environment and a half-done \
         study, and by a link: help, exit code 2, a whole run, Ctrl-C and SIGTERM",
        shims.len(),
        if has_uv() {
            " and uv run python X.py"
        } else {
            " (uv is not on PATH: not tried)"
        }
    );
    Ok(())
}

/// Whether uv can be tried: not everybody has it.
pub(crate) fn has_uv() -> bool {
    Command::new("uv").arg("--version").output().is_ok()
}

/// An unpacked release, by a link in place of the directory with the Python programs.
struct Suite<'a> {
    home: &'a Home,
    bundle: PathBuf,
}

impl Suite<'_> {
    /// Where the user's scripts find the Python suite: the shims, through the link of the page.
    fn scripts(&self) -> PathBuf {
        self.home.suite()
    }

    /// The page's own commands: the Python suite out of the way, the link in its place.
    fn move_in(&self) -> Result<()> {
        self.home.add_originals()?;
        self.home
            .run(&page::lines("mv kv-cache-suite kv-cache-suite.python")?)?;
        let scripts = self.scripts();
        ensure!(
            scripts.is_symlink() && scripts.join("cache_rate_tester.py").exists(),
            "no shims through {}",
            scripts.display()
        );
        Ok(())
    }

    /// The way back: the originals are where they were.
    fn move_out(&self) -> Result<()> {
        self.home
            .run(&page::lines("mv kv-cache-suite.python kv-cache-suite")?)?;
        ensure!(
            self.home.has_originals()? && self.bundle.join("scripts").exists(),
            "the originals are not back in {}",
            self.scripts().display()
        );
        Ok(())
    }

    /// The file that stands in for a tool's original, below `scripts/`.
    fn shim(&self, tool: &str) -> Option<String> {
        [format!("{tool}.py"), format!("{tool}/main.py")]
            .into_iter()
            .find(|path| self.scripts().join(path).exists())
    }

    /// The install lines of the user's pages, in an environment of their own, then a shim from that environment.
    fn install(&self) -> Result<()> {
        for dir in [self.scripts(), self.scripts().join("llm_benchmark")] {
            let run = bash(
                "python3 -m venv venv\nsource venv/bin/activate\npip install -r requirements.txt\n\
                 python \"$(ls *.py | head -1)\" --help\n",
                &dir,
            )?;
            ensure!(run.status.success(), "installing as the pages say: {run:?}");
            ensure!(
                String::from_utf8_lossy(&run.stdout).contains("Usage:"),
                "no help from the environment: {run:?}"
            );
        }
        Ok(())
    }

    /// Help to the byte and a refused option, in every form.
    fn same_text_and_codes(&self, tool: &str, shim: &str) -> Result<()> {
        let binary = |argument: &str| {
            Command::new(self.bundle.join("bin").join(tool))
                .arg(argument)
                .output()
                .with_context(|| format!("starting {tool}"))
        };
        let (help, wrong) = (binary("--help")?, binary("--no-such-option")?);
        ensure!(
            wrong.status.code() == Some(2),
            "{tool} takes --no-such-option"
        );
        let mut forms = vec![format!("python3 {shim}"), format!("./{shim}")];
        if has_uv() {
            forms.push(format!("uv run --offline python {shim}"));
        }
        for form in forms {
            for (argument, direct) in [("--help", &help), ("--no-such-option", &wrong)] {
                let through = bash(&format!("{form} {argument}"), &self.scripts())?;
                ensure!(
                    (&through.stdout, &through.stderr, through.status.code())
                        == (&direct.stdout, &direct.stderr, direct.status.code()),
                    "{form} {argument} is not what {tool} {argument} is: {through:?}"
                );
            }
        }
        Ok(())
    }

    /// The page's own commands, but for the port.
    fn quick_start(&self, url: &str) -> Result<()> {
        let script = format!(
            "set -e\n\
             python3 single_prompt_tester.py \\\n--api-endpoint {url} \\\n--min-tokens 1000 \\\n--max-tokens 128000 \\\n\
             --output-dir results\n\
             python3 generate_index.py ./results 1.6\n\
             cd llm_benchmark\n\
             python3 main.py --endpoint {url}/generate \\\n    --repeat-ratio 0.5 \\\n    --requests 100 \\\n    --output r.json\n"
        );
        let run = bash(&script, &self.scripts())?;
        ensure!(run.status.success(), "the quick start: {run:?}");
        for file in [
            "results/index.html",
            "results/metadata.json",
            "llm_benchmark/r.json",
        ] {
            ensure!(self.scripts().join(file).exists(), "no {file}");
        }
        Ok(())
    }

    /// A long study, stopped by a signal to the Python process when its first rows are there.
    fn stopped(&self, url: &str, signal: &str, code: i32) -> Result<()> {
        let dir = format!("output-{signal}");
        let mut child = Running(
            Command::new("python3")
                .arg("cache_rate_tester.py")
                .args([
                    "--api-endpoint",
                    url,
                    "--context-sizes",
                    "8000",
                    "32000",
                    "64000",
                ])
                .args(["--working-set-size", "2000000", "--output-dir", &dir])
                .current_dir(self.scripts())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .context("starting python3")?,
        );
        let dir = self.scripts().join(dir);
        wait_for(&mut child, &dir, has_rows)?;
        child
            .stop(signal, code)
            .context("a signal to the Python process")?;
        ensure!(
            dir.join("progress.json").exists(),
            "SIG{signal} left no progress.json"
        );
        Ok(())
    }
}

/// Waits until something is so of a directory that a running study writes to.
fn wait_for(study: &mut Running, dir: &Path, is_so: impl Fn(&Path) -> bool) -> Result<()> {
    let begun = Instant::now();
    while !is_so(dir) {
        ensure!(
            begun.elapsed() < PATIENCE,
            "nothing in {} after {PATIENCE:?}",
            dir.display()
        );
        if let Some(status) = study.0.try_wait()? {
            bail!("the study ended by itself with {status}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A child that does not outlive the check.
struct Running(Child);

impl Running {
    /// Ends it by a signal, which must give this exit code.
    fn stop(&mut self, signal: &str, code: i32) -> Result<()> {
        let pid = self.0.id().to_string();
        let killed = Command::new("kill").args(["-s", signal, &pid]).status()?;
        ensure!(
            killed.success(),
            "kill -s {signal} {pid} ended with {killed}"
        );
        let status = self.0.wait()?;
        ensure!(
            status.code() == Some(code),
            "SIG{signal} gives {status}, not {code}"
        );
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good as stopped.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether a detail file holds more than its header.
fn has_rows(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().contains("detailed_results_"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .any(|text| text.lines().count() > 1)
}

fn bash(script: &str, dir: &Path) -> Result<Output> {
    Command::new("bash")
        .args(["-c", script])
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .context("starting bash")
}
