//! The thread that renders and writes log lines.
//!
//! Promise: senders never wait for it; it never outlives its guard by more than the patience below.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::LogOptions;
use super::line::{self, LineLevel, Style};
use crate::clock;
use crate::console::Console;
use crate::secret::Redactor;

/// How long the end of the program waits for a terminal that takes no text.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines written in one go.
const BATCH: usize = 256;

/// What the writer thread receives.
pub(super) enum Message {
    /// One event.
    Line {
        /// When it happened.
        at: SystemTime,
        /// Its level.
        level: LineLevel,
        /// Its style.
        style: Style,
        /// Its text, possibly of several lines.
        text: String,
    },
    /// Everything before this must be written before the sender is told so.
    Flush(SyncSender<()>),
    /// The last message.
    Stop(SyncSender<()>),
}

/// The sending side; clones share the counts.
#[derive(Clone)]
pub(super) struct Sender {
    /// Bounded by the count of lines and not by itself: a bounded channel makes all its places at once, and the start of the
    /// program would wait for that.
    channel: mpsc::Sender<Message>,
    /// Lines that wait for the writer.
    n_waiting: Arc<AtomicUsize>,
    capacity: usize,
    n_dropped: Arc<AtomicU64>,
}

impl Sender {
    /// Hands a line over, or drops and counts it.
    pub(super) fn send_line(&self, line: Message) {
        let has_room = self.n_waiting.fetch_add(1, Ordering::Relaxed) < self.capacity;
        if !has_room || self.channel.send(line).is_err() {
            self.n_waiting.fetch_sub(1, Ordering::Relaxed);
            self.n_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what the writer answers, and waits for the answer for as long as patience lasts.
    fn ask(&self, control: impl FnOnce(SyncSender<()>) -> Message) {
        let (done, is_done) = mpsc::sync_channel(1);
        if self.channel.send(control(done)).is_ok() {
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }
}

/// Keeps the log alive; dropping it writes everything that waits, and the count of lost lines.
pub struct LogGuard {
    sender: Sender,
    file_error: Option<String>,
}

impl LogGuard {
    /// Waits until everything logged so far is written (for a few seconds at most), for instance before
    /// a report goes to stdout.
    pub fn flush(&self) {
        self.sender.ask(Message::Flush);
    }

    /// Lines lost so far because they came faster than they could be written.
    #[must_use]
    pub fn n_dropped(&self) -> u64 {
        self.sender.n_dropped.load(Ordering::Relaxed)
    }

    /// Passes on why the log file cannot be written, if so.
    pub fn report_file_error(&self, report: impl FnOnce(&str)) {
        if let Some(error) = &self.file_error {
            report(error);
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.sender.ask(Message::Stop);
    }
}

impl fmt::Debug for LogGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogGuard")
            .field("n_dropped", &self.n_dropped())
            .finish_non_exhaustive()
    }
}

/// Starts the writer thread.
pub(super) fn spawn(
    options: &LogOptions,
    console: Arc<Console>,
    file: Option<File>,
    file_error: Option<String>,
) -> (Sender, LogGuard) {
    let (channel, receiver) = mpsc::channel();
    let sender = Sender {
        channel,
        n_waiting: Arc::default(),
        capacity: options.capacity,
        n_dropped: Arc::default(),
    };
    let writer = Writer {
        console,
        file,
        color: options.color,
        redactor: options.redactor.clone(),
        n_waiting: Arc::clone(&sender.n_waiting),
        n_dropped: Arc::clone(&sender.n_dropped),
        zone: clock::zone(),
        terminal_text: String::new(),
        file_text: String::new(),
    };
    // Without a thread there is no log, and without a log there is no run: as fatal as memory running out.
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run(&receiver))
        .expect("the first thread of the process can be started");
    (sender.clone(), LogGuard { sender, file_error })
}

struct Writer {
    console: Arc<Console>,
    file: Option<File>,
    color: bool,
    redactor: Redactor,
    n_waiting: Arc<AtomicUsize>,
    n_dropped: Arc<AtomicU64>,
    zone: TimeZone,
    terminal_text: String,
    file_text: String,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(first) = receiver.recv() {
            let mut next = Some(first);
            let mut n_lines = 0;
            while let Some(message) = next {
                match message {
                    Message::Line {
                        at,
                        level,
                        style,
                        text,
                    } => {
                        self.n_waiting.fetch_sub(1, Ordering::Relaxed);
                        self.add(at, level, style, &text);
                        n_lines += 1;
                    }
                    Message::Flush(done) => {
                        self.write();
                        let _ = done.send(());
                    }
                    Message::Stop(done) => {
                        self.add_count_of_lost_lines();
                        self.write();
                        let _ = done.send(());
                        return;
                    }
                }
                next = if n_lines < BATCH {
                    receiver.try_recv().ok()
                } else {
                    None
                };
            }
            self.write();
        }
    }

    fn add(&mut self, at: SystemTime, level: LineLevel, style: Style, text: &str) {
        let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
        let stamp = line::stamp(&Zoned::new(at, self.zone.clone()));
        let text = self.redactor.redact(text);
        line::render(
            &mut self.terminal_text,
            &stamp,
            level,
            style,
            &text,
            self.color,
        );
        if self.file.is_some() {
            line::render(&mut self.file_text, &stamp, level, style, &text, false);
        }
    }

    fn add_count_of_lost_lines(&mut self) {
        let n = self.n_dropped.load(Ordering::Relaxed);
        if n > 0 {
            let text = format!(
                "{n} log lines were lost because they came faster than they could be written"
            );
            self.add(SystemTime::now(), LineLevel::Warning, Style::Plain, &text);
        }
    }

    fn write(&mut self) {
        // The file first: it does not depend on anybody scrolling.
        let text = mem::take(&mut self.file_text);
        if let Some(file) = self.file.as_mut().filter(|_| !text.is_empty())
            && let Err(error) = file.write_all(text.as_bytes())
        {
            self.file = None;
            let text = format!("the log file cannot be written any more: {error}");
            self.add(SystemTime::now(), LineLevel::Warning, Style::Plain, &text);
        }
        let text = mem::take(&mut self.terminal_text);
        if !text.is_empty() {
            self.console.write(&text);
        }
    }
}
