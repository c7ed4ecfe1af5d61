//! The binary as a process in a directory of its own, and what it left there, read without the tool's own readers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No run of these tests takes nearly as long; one that does hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);

/// The built binary.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_single_prompt_tester"))
}

/// A working directory.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The binary with these arguments, separated by blanks.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(args.split_whitespace());
        command
    }

    /// Starts a program here. Nothing of the machine's own settings decides a test, and nothing is fetched.
    pub(crate) fn spawn(&self, mut command: Command) -> Running {
        let mut child = command
            .current_dir(self.path())
            .env_remove("NO_COLOR")
            .env_remove("OPENAI_API_KEY")
            .env_remove("HF_TOKEN")
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.path().join("no-hub"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running {
            stdout: Captured::read(child.stdout.take().unwrap()),
            stderr: Captured::read(child.stderr.take().unwrap()),
            shown: format!("{command:?}"),
            child,
            started: Instant::now(),
        }
    }

    pub(crate) fn start(&self, args: &str) -> Running {
        self.spawn(self.command(args))
    }

    pub(crate) fn run(&self, args: &str) -> Finished {
        self.start(args).finish()
    }

    /// A small run with the built-in tokenizer. Options given behind these replace them.
    pub(crate) fn quick(&self, url: &str, more: &str) -> Finished {
        self.start(&quick(url, more)).finish()
    }

    /// Names below a directory of the place, sorted.
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path().join(dir)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// A file of the results.
    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path().join("out").join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// Requires that the validator finds nothing wrong.
    #[track_caller]
    pub(crate) fn assert_valid(&self) {
        let validation = report::validate::validate(&self.path().join("out"));
        assert!(validation.is_valid(), "{validation}");
    }

    /// The one file of rows.
    pub(crate) fn rows(&self) -> Rows {
        let mut names = self.names("out");
        names.retain(|name| name.starts_with("single_prompt_results_"));
        assert_eq!(names.len(), 1, "{names:?}");
        Rows::parse(&self.read(&names[0]))
    }

    /// The file of failed requests of a size.
    pub(crate) fn failed(&self, context_size: u64) -> Rows {
        let mut names = self.names("out");
        names.retain(|name| name.starts_with(&format!("failed_requests_{context_size}_")));
        assert_eq!(names.len(), 1, "{names:?}");
        Rows::parse(&self.read(&names[0]))
    }
}

/// Arguments of a small run.
pub(crate) fn quick(url: &str, more: &str) -> String {
    format!(
        "--api-endpoint {url} --tokenizer builtin --context-sizes 200 --num-iterations 1 --output-tokens 4 \
         --output-dir out {more}"
    )
}

/// A CSV file, its cells as texts by column name.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<BTreeMap<String, String>>,
}

impl Rows {
    fn parse(text: &str) -> Self {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns: Vec<String> = reader
            .headers()
            .unwrap()
            .iter()
            .map(str::to_owned)
            .collect();
        let rows = reader
            .records()
            .map(|row| {
                let row = row.unwrap();
                assert_eq!(row.len(), columns.len());
                columns
                    .iter()
                    .cloned()
                    .zip(row.iter().map(str::to_owned))
                    .collect()
            })
            .collect();
        Self { columns, rows }
    }

    pub(crate) fn texts(&self, column: &str) -> Vec<&str> {
        self.rows.iter().map(|row| row[column].as_str()).collect()
    }

    #[track_caller]
    pub(crate) fn numbers(&self, column: &str) -> Vec<f64> {
        let number = |text: &str| {
            text.parse()
                .unwrap_or_else(|_| panic!("{column}: {text:?}"))
        };
        self.texts(column).into_iter().map(number).collect()
    }
}

/// Text that a thread reads from a pipe while the test goes on.
struct Captured {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let filled = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                filled.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn end(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}

pub(crate) struct Running {
    child: Child,
    stdout: Captured,
    stderr: Captured,
    shown: String,
    started: Instant,
}

impl Running {
    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits until `what` holds.
    #[track_caller]
    pub(crate) fn wait_until(&self, words: &str, mut what: impl FnMut() -> bool) -> &Self {
        let end = Instant::now() + LIMIT;
        while !what() {
            assert!(
                Instant::now() < end,
                "waited in vain for {words}:\n{}",
                self.stderr.so_far()
            );
            thread::sleep(POLL);
        }
        self
    }

    /// Waits until stderr holds `words`.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) -> &Self {
        self.wait_until(words, || self.stderr.so_far().contains(words))
    }

    /// What stdout holds so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    pub(crate) fn finish(mut self) -> Finished {
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(
                    self.started.elapsed() < LIMIT,
                    "{} hangs:\n{}",
                    self.shown,
                    self.stderr.so_far()
                ),
            }
            thread::sleep(POLL);
        };
        Finished {
            status,
            took: self.started.elapsed(),
            stdout: self.stdout.end(),
            stderr: self.stderr.end(),
            shown: std::mem::take(&mut self.shown),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            // Nothing else can be done about a child that does not die.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(crate) struct Finished {
    status: ExitStatus,
    pub(crate) took: Duration,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    shown: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\nstdout:\n{}\nstderr:\n{}",
            self.shown,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Requires words on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "no {words:?} in:\n{}",
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn never_says(self, words: &str) -> Self {
        assert!(
            !self.stderr.contains(words),
            "{words:?} in:\n{}",
            self.stderr
        );
        self
    }

    /// Texts of the log lines, without stamp and level.
    pub(crate) fn lines(&self) -> Vec<&str> {
        let lines = self.stderr.lines();
        lines
            .filter_map(|line| Some(line.split_once(" - ")?.1))
            .collect()
    }
}
