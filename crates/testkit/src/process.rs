//! A program as a process, in a directory of its own: arguments, signals, a hard time limit, and what it said.
//!
//! Promise: a process never outlives its test, and nothing of the machine's own settings decides one. Refuses to wait
//! without a limit.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// No run of a test takes nearly as long; one that does hangs.
pub const LIMIT: Duration = Duration::from_secs(180);
/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// Sends a signal by name, such as `INT`, to the process with this id.
///
/// # Panics
/// When that fails.
#[track_caller]
pub fn signal(id: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &id.to_string()])
        .status()
        .expect("kill can be started");
    assert!(status.success(), "kill -s {name} {id} failed");
}

/// A working directory and a way to run programs in it. The directory goes when this goes.
#[derive(Debug)]
pub struct Place {
    dir: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty directory.
    ///
    /// # Panics
    /// When none can be made.
    #[must_use]
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory can be made"),
        }
    }

    /// The working directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A program, to be started here.
    #[must_use]
    pub fn program(&self, program: impl AsRef<OsStr>) -> Program {
        self.prepared(Command::new(program))
    }

    /// A program that has arguments already, to be started here.
    #[must_use]
    pub fn prepared(&self, command: Command) -> Program {
        Program::new(command, self.path())
    }

    /// Paths of all files here, also below.
    ///
    /// # Panics
    /// When a directory cannot be read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
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
pub enum Sink {
    /// A pipe that is read to its end.
    Captured,
    /// A pipe whose reading end is closed at once.
    ClosedPipe,
    /// A file.
    File(File),
}

/// A process that has not been started.
#[derive(Debug)]
pub struct Program {
    command: Command,
    stdout: Sink,
    stdin: Stdio,
}

impl Program {
    fn new(mut command: Command, cwd: &Path) -> Self {
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
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Where stdout goes.
    #[must_use]
    pub fn stdout(mut self, sink: Sink) -> Self {
        self.stdout = sink;
        self
    }

    /// Where stdin comes from.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn start(mut self) -> Running {
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
    ///
    /// # Panics
    /// When it cannot be started or hangs.
    #[track_caller]
    pub fn run(self) -> Finished {
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
pub struct Running {
    child: Child,
    shown: String,
    started: Instant,
    stdout: Option<Captured>,
    stderr: Captured,
}

impl Running {
    /// Waits until stderr holds `words`.
    ///
    /// # Panics
    /// When that takes too long.
    #[track_caller]
    pub fn wait_for(&self, words: &str) -> &Self {
        assert!(
            self.stderr.wait_for(words, LIMIT),
            "no '{words}' from {}; stderr:\n{}",
            self.shown,
            self.stderr.text()
        );
        self
    }

    /// Waits until `what` holds.
    ///
    /// # Panics
    /// When that takes too long.
    #[track_caller]
    pub fn wait_until(&self, words: &str, mut what: impl FnMut() -> bool) -> &Self {
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
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Ends it by this signal, and requires the exit code and the words that stand for it in a tester.
    ///
    /// # Panics
    /// When they are others.
    #[track_caller]
    pub fn cut_short(self, signal: &str) {
        self.signal(signal);
        let ended = self.finish();
        let code = match signal {
            "KILL" => return drop(ended.was_killed()),
            "TERM" => 143,
            _ => 130,
        };
        let saved = "Test interrupted by user. Progress has been saved.";
        let ended = ended
            .exits(code)
            .says(saved)
            .says("To go on after ")
            .says(" give the same command again, or bash ")
            .never_says("All tests complete");
        assert_eq!(ended.stderr.matches(saved).count(), 1);
        assert_eq!(ended.stdout, "");
    }

    /// What stdout holds so far, where it is captured.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.as_ref().map(Captured::text).unwrap_or_default()
    }

    /// What stderr holds so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When that takes too long.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
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
pub struct Finished {
    shown: String,
    status: ExitStatus,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Finished {
    /// Requires an exit code.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
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
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn was_killed(self) -> Self {
        assert!(self.status.signal().is_some(), "ended with {}", self.status);
        self
    }

    /// Requires words on stderr.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "no '{words}' on stderr:\n{}",
            self.stderr
        );
        self
    }

    /// Requires that stderr holds nothing of the kind.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn never_says(self, words: &str) -> Self {
        assert!(
            !self.stderr.contains(words),
            "'{words}' on stderr:\n{}",
            self.stderr
        );
        self
    }

    /// Warnings and errors of the log, but for the one that every model of a test gets: the memory that its tokens take
    /// is not known.
    #[must_use]
    pub fn warnings(&self) -> Vec<&str> {
        let is_one = |line: &&str| line.contains("] WARNING - ") || line.contains("] ERROR - ");
        let others = [
            " - The KV cache of model ",
            // A busy machine of tests is a bad client, and the tools say so.
            " limited by this client (",
            " that this client limited; ",
            " - client_limited: ",
        ];
        let is_other = |line: &&str| !others.iter().any(|other| line.contains(other));
        self.stderr
            .lines()
            .filter(is_one)
            .filter(is_other)
            .collect()
    }

    /// Requires that there are none.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn warns_of_nothing(self) -> Self {
        assert!(self.warnings().is_empty(), "{:?}", self.warnings());
        self
    }

    /// Texts of the log's lines, without stamp and level.
    #[must_use]
    pub fn log_lines(&self) -> Vec<&str> {
        let text = |line| Some(str::split_once(line, " - ")?.1);
        self.stderr.lines().filter_map(text).collect()
    }

    /// Those that begin with `start`, without blanks at their ends.
    #[must_use]
    pub fn lines(&self, start: &str) -> Vec<&str> {
        let trimmed = self.log_lines().into_iter().map(str::trim);
        trimmed.filter(|line| line.starts_with(start)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_in_its_place_and_says_what_it_says() {
        let place = Place::new();
        let run = place
            .program("sh")
            .args(["-c", "echo out; echo 'x - said' >&2; echo x >file; exit 3"])
            .run()
            .exits(3)
            .says("said")
            .never_says("other");
        assert_eq!(
            (run.stdout.as_str(), run.log_lines()),
            ("out\n", vec!["said"])
        );
        assert_eq!(place.files(), [place.path().join("file")]);
    }

    #[test]
    #[should_panic(expected = "ended with exit status: 3")]
    fn another_exit_code_is_found() {
        let place = Place::new();
        let _ = place.program("sh").args(["-c", "exit 3"]).run().exits(0);
    }

    #[test]
    #[should_panic(expected = "no 'ready' on stderr")]
    fn missing_words_are_found() {
        let _ = Place::new().program("true").run().says("ready");
    }

    #[test]
    fn a_signal_ends_what_goes_on() {
        let place = Place::new();
        let run = place
            .program("sh")
            .args(["-c", "echo ready >&2; exec sleep 1000"])
            .start();
        run.wait_for("ready").signal("KILL");
        let _ = run.finish().was_killed();
    }

    #[test]
    fn a_process_does_not_outlive_what_started_it() {
        let place = Place::new();
        let run = place.program("sleep").args(["1000"]).start();
        let id = run.child.id();
        drop(run);
        // A child that was waited for is no process any more.
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
