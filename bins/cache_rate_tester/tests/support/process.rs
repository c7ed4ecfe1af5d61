//! The binary as a process.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sim::Background;
use tempfile::TempDir;

use super::output::Output;

/// No run of these tests takes nearly as long; one that does hangs.
const LIMIT: Duration = Duration::from_secs(180);
/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);

/// A working directory and a way to run the tool in it. The directory goes when this goes.
#[derive(Debug)]
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory can be made"),
        }
    }

    /// The working directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Results of the runs in this place (`--output-dir` left at its default).
    pub(crate) fn output(&self) -> Output {
        Output::new(self.dir.path().join("output"))
    }

    /// The tool, to be started here with these arguments, separated by blanks.
    pub(crate) fn tool(&self, args: &str) -> Tool {
        Tool::new(crate::tool::BINARY.as_ref(), self.path())
            // A busy machine of tests is a bad client, and says so; what comes of that has tests of its own.
            .args(["--calibrate", "off"])
            .args(args.split_whitespace())
    }

    /// The tool with [`crate::tool::QUICK`] and more arguments, against `server`.
    pub(crate) fn quick(&self, server: &Background, more: &str) -> Tool {
        self.tool(crate::tool::QUICK)
            .args(["--api-endpoint", &server.url()])
            .args(more.split_whitespace())
    }

    /// Another program, here; the tool's environment.
    pub(crate) fn program(&self, program: &str) -> Tool {
        Tool::new(program.as_ref(), self.path())
    }

    /// Runs the tool to its end.
    pub(crate) fn run(&self, args: &str) -> Finished {
        self.tool(args).run()
    }

    /// The log file of all runs here.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join(format!("{}.log", crate::tool::TOOL)))
            .unwrap_or_default()
    }

    /// Paths of all files here, also below.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.path().to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(&dir).expect("a directory of the test can be listed") {
                let path = entry.expect("an entry can be read").path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// What a process writes to.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A pipe that is read to its end.
    Captured,
    /// A pipe whose reading end is closed at once.
    ClosedPipe,
    /// A file.
    File(File),
}

/// A process that has not been started.
#[derive(Debug)]
pub(crate) struct Tool {
    command: Command,
    stdout: Sink,
    stdin: Stdio,
}

impl Tool {
    fn new(program: &std::ffi::OsStr, cwd: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .current_dir(cwd)
            // Nothing of the machine's own settings may decide a test, and nothing may be fetched.
            .env_remove("OPENAI_API_KEY")
            .env_remove("NO_COLOR")
            .env_remove("HF_TOKEN")
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", cwd.join("no-hub"));
        Self {
            command,
            stdout: Sink::Captured,
            stdin: Stdio::null(),
        }
    }

    /// More arguments, one each.
    pub(crate) fn args<S: AsRef<std::ffi::OsStr>>(
        mut self,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        self.command.args(args);
        self
    }

    /// An environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Where stdout goes.
    pub(crate) fn stdout(mut self, sink: Sink) -> Self {
        self.stdout = sink;
        self
    }

    /// Where stdin comes from.
    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Running {
        let shown = format!("{:?}", self.command);
        self.command.stdin(self.stdin).stderr(Stdio::piped());
        let reader = match self.stdout {
            Sink::Captured => {
                self.command.stdout(Stdio::piped());
                None
            }
            Sink::ClosedPipe => {
                let (reader, writer) = std::io::pipe().expect("a pipe can be made");
                self.command.stdout(writer);
                Some(reader)
            }
            Sink::File(file) => {
                self.command.stdout(file);
                None
            }
        };
        let started = Instant::now();
        let mut child = self.command.spawn().expect("the program can be started");
        // The command holds the pipe's other end.
        drop(self.command);
        drop(reader);
        let stderr = Captured::read(child.stderr.take().expect("stderr is piped"));
        let stdout = child.stdout.take().map(Captured::read);
        Running {
            child,
            shown,
            started,
            stdout,
            stderr,
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Finished {
        self.start().finish()
    }
}

/// Text that a thread reads from a pipe while the test goes on.
#[derive(Debug)]
struct Captured {
    shared: Arc<(Mutex<Vec<u8>>, Condvar)>,
    reader: JoinHandle<()>,
}

impl Captured {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let filled = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                let (bytes, arrived) = &*filled;
                bytes
                    .lock()
                    .expect("no reader panics")
                    .extend_from_slice(&buffer[..n]);
                arrived.notify_all();
            }
        });
        Self { shared, reader }
    }

    fn text(&self) -> String {
        let bytes = self.shared.0.lock().expect("no reader panics");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the text holds `words`; whether it does.
    fn wait_for(&self, words: &str, limit: Duration) -> bool {
        let (bytes, arrived) = &*self.shared;
        let bytes = bytes.lock().expect("no reader panics");
        let holds = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(words);
        let (bytes, _) = arrived
            .wait_timeout_while(bytes, limit, |bytes| !holds(bytes))
            .expect("no reader panics");
        holds(&bytes)
    }

    fn end(self) -> String {
        self.reader.join().expect("no reader panics");
        let bytes = self.shared.0.lock().expect("no reader panics");
        String::from_utf8(bytes.clone()).expect("the tool writes UTF-8")
    }
}

/// A process that goes on. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    shown: String,
    started: Instant,
    stdout: Option<Captured>,
    stderr: Captured,
}

impl Running {
    /// Waits until stderr holds `words`.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) -> &Self {
        assert!(
            self.stderr.wait_for(words, LIMIT),
            "no '{words}' from {}; stderr:\n{}",
            self.shown,
            self.stderr.text()
        );
        self
    }

    /// Waits until `what` holds.
    #[track_caller]
    pub(crate) fn wait_until(&self, words: &str, mut what: impl FnMut() -> bool) -> &Self {
        let end = Instant::now() + LIMIT;
        while !what() {
            assert!(
                Instant::now() < end,
                "waited in vain for: {words}; stderr:\n{}",
                self.stderr.text()
            );
            thread::sleep(POLL);
        }
        self
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .expect("kill can be started");
        assert!(status.success(), "kill -{name} failed");
    }

    /// What stderr holds so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let status = loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None if self.started.elapsed() > LIMIT => panic!(
                    "{} runs for more than {LIMIT:?}; stderr:\n{}",
                    self.shown,
                    self.stderr.text()
                ),
                None => thread::sleep(POLL),
            }
        };
        let took = self.started.elapsed();
        // The pipes end with the process; taking them out leaves the guard without work.
        let stdout = self.stdout.take().map(Captured::end).unwrap_or_default();
        let empty = Captured::read(std::io::empty());
        let stderr = std::mem::replace(&mut self.stderr, empty).end();
        Finished {
            shown: std::mem::take(&mut self.shown),
            status,
            stdout,
            stderr,
            took,
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

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    shown: String,
    status: ExitStatus,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
    /// From start to end.
    pub(crate) took: Duration,
}

impl Finished {
    /// Requires an exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{} ended with {}; stdout:\n{}\nstderr:\n{}",
            self.shown,
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Requires an end by a signal that nobody handled.
    #[track_caller]
    pub(crate) fn was_killed(self) -> Self {
        assert!(self.status.signal().is_some(), "ended with {}", self.status);
        self
    }

    /// Requires words on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "no '{words}' on stderr:\n{}",
            self.stderr
        );
        self
    }

    /// Requires that stderr holds nothing of the kind.
    #[track_caller]
    pub(crate) fn never_says(self, words: &str) -> Self {
        assert!(
            !self.stderr.contains(words),
            "'{words}' on stderr:\n{}",
            self.stderr
        );
        self
    }

    /// Warnings and errors of the log, but for the one that every model of these tests gets: the memory that
    /// its tokens take is not known.
    pub(crate) fn warnings(&self) -> Vec<&str> {
        let is_one = |line: &&str| line.contains("] WARNING - ") || line.contains("] ERROR - ");
        let is_other = |line: &&str| !line.contains(" - The KV cache of model ");
        self.stderr
            .lines()
            .filter(is_one)
            .filter(is_other)
            .collect()
    }

    /// Requires that there are none.
    #[track_caller]
    pub(crate) fn warns_of_nothing(self) -> Self {
        assert!(self.warnings().is_empty(), "{:?}", self.warnings());
        self
    }

    /// Lines of stderr that begin their text with `start`, without stamp and level.
    pub(crate) fn lines(&self, start: &str) -> Vec<&str> {
        let text = |line| {
            let (_, text): (&str, &str) = str::split_once(line, " - ")?;
            text.trim_start().starts_with(start).then(|| text.trim())
        };
        self.stderr.lines().filter_map(text).collect()
    }
}
