//! From ended requests to rows, off the thread that reads streams.
//!
//! The load loop hands over each ended request and thinks no more of it. A writer thread turns it into a
//! row, counts tokens where the server did not, appends it to the CSV within seconds, and gives the rows of
//! a window back when the window is judged.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use metrics::PeriodRow;
use metrics::record::{FailedRequest, RequestIntent, RequestRecord, WallAnchor};
use metrics::timeline::{Exchange, FailureKind};
use report::test_name::TestName;
use tokio::sync::oneshot;
use workload::TextTokenizer;

/// Requests that may wait for the writer before the load loop keeps them itself.
const QUEUE_DEPTH: usize = 16_384;
/// Rows are on disk after at most this long.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// … or after this many requests.
const FLUSH_ROWS: usize = 512;

/// One ended request with what it was meant to be.
#[derive(Debug)]
pub struct Ended {
    /// What it was meant to be.
    pub intent: RequestIntent,
    /// What happened.
    pub exchange: Exchange,
}

/// The rows of one window.
#[derive(Debug, Default)]
pub struct WindowRows {
    /// Completed requests, in the order in which they ended.
    pub records: Vec<RequestRecord>,
    /// Failed and cancelled ones.
    pub failed: Vec<FailedRequest>,
    /// First error of the row files, as a line; the rows above are complete all the same.
    pub write_error: Option<String>,
}

/// Where ended requests go.
pub trait RecordSink {
    /// Takes one request. Never blocks.
    fn push(&mut self, ended: Ended);

    /// Takes all periods of a test so far; they replace what was given before. Never blocks.
    fn put_periods(&mut self, test: TestName, periods: Vec<PeriodRow>);

    /// The first error of the files since the last [`RecordSink::collect`], as far as it is known.
    fn write_error(&self) -> Option<String>;

    /// Gives back everything pushed since the last call, written to disk where the sink writes.
    fn collect(&mut self) -> LocalBoxFuture<'_, WindowRows>;
}

/// Appends rows to a run's files. Implemented over `report`'s writer; errors come back as a line.
pub trait RowFiles: Send {
    /// Appends and flushes.
    ///
    /// # Errors
    /// One line that names the file.
    fn append(&mut self, records: &[RequestRecord], failed: &[FailedRequest])
    -> Result<(), String>;

    /// Replaces the periods of a test.
    ///
    /// # Errors
    /// One line that names the file.
    fn put_periods(&mut self, test: TestName, periods: &[PeriodRow]) -> Result<(), String>;
}

/// Interprets ended requests.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// Turns stamps into Unix time.
    pub anchor: WallAnchor,
    /// Counts output tokens when the server sends no usage.
    pub tokenizer: TextTokenizer,
}

impl Interpreter {
    fn interpret(&self, ended: Ended, rows: &mut WindowRows) {
        let Ended {
            intent,
            mut exchange,
        } = ended;
        let count = |exchange: &Exchange| {
            let is_uncounted = exchange.usage.completion_tokens.is_none();
            is_uncounted.then(|| self.tokenizer.count(&exchange.text) as u64)
        };
        match exchange.failure.clone() {
            None => {
                let local = count(&exchange);
                let record = RequestRecord::from_exchange(intent, &exchange, self.anchor, local);
                tracing::debug!("{}", told(&record));
                rows.records.push(record);
            }
            Some(failure) => {
                // What arrived of a cancelled one counts for its window, and a chunk may hold several tokens.
                if failure.kind == FailureKind::Cancelled {
                    let local = count(&exchange);
                    exchange.usage.completion_tokens = exchange.usage.completion_tokens.or(local);
                }
                rows.failed
                    .extend(FailedRequest::from_exchange(intent, exchange, self.anchor));
            }
        }
    }
}

/// A completed request as a line, for `--verbose`.
fn told(record: &RequestRecord) -> String {
    let shown = |value: Option<f64>, per_second: f64, unit: &str| {
        value.map_or_else(
            || "n/a".to_owned(),
            |seconds| format!("{:.3}{unit}", seconds * per_second),
        )
    };
    format!(
        "Request {}: {} tokens, TTFT {}, TTLT {}, ITL {}, {} chunks",
        record.intent.request_id,
        record.output_tokens,
        shown(record.ttft, 1.0, "s"),
        shown(record.ttlt, 1.0, "s"),
        shown(record.itl, 1000.0, "ms"),
        record.token_timestamps.len(),
    )
}

/// Interprets in place and writes nothing: for virtual time.
#[derive(Debug)]
pub struct InlineSink {
    interpreter: Interpreter,
    rows: WindowRows,
}

impl InlineSink {
    /// An empty sink.
    #[must_use]
    pub fn new(interpreter: Interpreter) -> Self {
        Self {
            interpreter,
            rows: WindowRows::default(),
        }
    }
}

impl RecordSink for InlineSink {
    fn push(&mut self, ended: Ended) {
        self.interpreter.interpret(ended, &mut self.rows);
    }

    fn put_periods(&mut self, _test: TestName, _periods: Vec<PeriodRow>) {}

    fn write_error(&self) -> Option<String> {
        None
    }

    fn collect(&mut self) -> LocalBoxFuture<'_, WindowRows> {
        Box::pin(std::future::ready(std::mem::take(&mut self.rows)))
    }
}

enum Message {
    Ended(Box<Ended>),
    Periods(TestName, Vec<PeriodRow>),
    Collect(oneshot::Sender<WindowRows>),
}

/// The writer thread's handle.
#[derive(Debug)]
pub struct ThreadSink {
    queue: Option<SyncSender<Message>>,
    /// Messages that found the queue full. They wait here, in order, and nothing is lost.
    backlog: VecDeque<Message>,
    overflowed: u64,
    /// What the writer stumbled on, for who does not want to wait for it.
    trouble: Trouble,
    writer: Option<JoinHandle<()>>,
}

/// First error of the files since rows were collected last.
type Trouble = Arc<Mutex<Option<String>>>;

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ended(_) => "Ended",
            Self::Periods(..) => "Periods",
            Self::Collect(_) => "Collect",
        })
    }
}

impl ThreadSink {
    /// Starts the writer thread.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(
        interpreter: Interpreter,
        files: impl RowFiles + 'static,
    ) -> std::io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE_DEPTH);
        let trouble = Trouble::default();
        let mut writer = RowWriter {
            interpreter,
            files,
            trouble: Arc::clone(&trouble),
            window: WindowRows::default(),
            records_on_disk: 0,
            failed_on_disk: 0,
            waiting_since: None,
        };
        let writer = thread::Builder::new()
            .name("rows".to_owned())
            .spawn(move || writer.work(&inbox))?;
        Ok(Self {
            queue: Some(queue),
            backlog: VecDeque::new(),
            overflowed: 0,
            trouble,
            writer: Some(writer),
        })
    }

    fn offer(&mut self, message: Message) {
        let queue = self
            .queue
            .as_ref()
            .expect("the queue is open until the sink is dropped");
        self.backlog.push_back(message);
        while let Some(message) = self.backlog.pop_front() {
            match queue.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                    self.overflowed += 1;
                    self.backlog.push_front(message);
                    return;
                }
            }
        }
    }
}

impl RecordSink for ThreadSink {
    fn push(&mut self, ended: Ended) {
        self.offer(Message::Ended(Box::new(ended)));
    }

    fn put_periods(&mut self, test: TestName, periods: Vec<PeriodRow>) {
        self.offer(Message::Periods(test, periods));
    }

    fn write_error(&self) -> Option<String> {
        // Asked between periods only; the writer holds the lock for as long as it takes to clone a line.
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn collect(&mut self) -> LocalBoxFuture<'_, WindowRows> {
        Box::pin(async move {
            let (reply, rows) = oneshot::channel();
            self.offer(Message::Collect(reply));
            // No stream is being read between windows, so waiting for the writer here delays no stamp.
            while let Some(message) = self.backlog.pop_front() {
                let queue = self
                    .queue
                    .as_ref()
                    .expect("the queue is open until the sink is dropped");
                if let Err(TrySendError::Full(message)) = queue.try_send(message) {
                    self.backlog.push_front(message);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            if std::mem::take(&mut self.overflowed) > 0 {
                tracing::warn!(
                    "rows were written more slowly than requests ended; they were kept in memory meanwhile"
                );
            }
            rows.await.unwrap_or_else(|_| WindowRows {
                write_error: Some("the thread that writes rows has stopped".to_owned()),
                ..WindowRows::default()
            })
        })
    }
}

impl Drop for ThreadSink {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was reported by its own message; there is nothing to add here.
            drop(writer.join());
        }
    }
}

/// The writer thread.
struct RowWriter<F> {
    interpreter: Interpreter,
    files: F,
    trouble: Trouble,
    window: WindowRows,
    /// Rows before these indices are on disk.
    records_on_disk: usize,
    failed_on_disk: usize,
    /// When the oldest row came that is not on disk. Rows that keep coming must not put the flush off.
    waiting_since: Option<Instant>,
}

impl<F: RowFiles> RowWriter<F> {
    fn work(&mut self, inbox: &Receiver<Message>) {
        loop {
            let wait = self.waiting_since.map_or(FLUSH_EVERY, |since| {
                FLUSH_EVERY.saturating_sub(since.elapsed())
            });
            match inbox.recv_timeout(wait) {
                Ok(Message::Ended(ended)) => {
                    self.interpreter.interpret(*ended, &mut self.window);
                    let rows = self.window.records.len() + self.window.failed.len();
                    let n_waiting = rows - self.records_on_disk - self.failed_on_disk;
                    let since = *self.waiting_since.get_or_insert_with(Instant::now);
                    if n_waiting >= FLUSH_ROWS || since.elapsed() >= FLUSH_EVERY {
                        self.flush();
                    }
                }
                Ok(Message::Periods(test, periods)) => {
                    // Requests first: a period on disk has its requests on disk.
                    self.flush();
                    let written = self.files.put_periods(test, &periods);
                    self.note(written);
                }
                Ok(Message::Collect(reply)) => {
                    self.flush();
                    (self.records_on_disk, self.failed_on_disk) = (0, 0);
                    *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    // The asker may be gone when the run was aborted; its rows are on disk.
                    drop(reply.send(std::mem::take(&mut self.window)));
                }
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush();
                    return;
                }
            }
        }
    }

    fn flush(&mut self) {
        self.waiting_since = None;
        let records = &self.window.records[self.records_on_disk..];
        let failed = &self.window.failed[self.failed_on_disk..];
        if records.is_empty() && failed.is_empty() {
            return;
        }
        let written = self.files.append(records, failed);
        self.note(written);
        self.records_on_disk = self.window.records.len();
        self.failed_on_disk = self.window.failed.len();
    }

    fn note(&mut self, written: Result<(), String>) {
        if let Err(line) = written {
            let line = self.window.write_error.get_or_insert(line).clone();
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            trouble.get_or_insert(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use metrics::timeline::{ChunkStamp, Timeline, Usage};

    use super::*;

    struct Counted(Arc<AtomicUsize>);

    impl RowFiles for Counted {
        fn append(
            &mut self,
            records: &[RequestRecord],
            failed: &[FailedRequest],
        ) -> Result<(), String> {
            self.0
                .fetch_add(records.len() + failed.len(), Ordering::SeqCst);
            Ok(())
        }

        fn put_periods(&mut self, _test: TestName, _periods: &[PeriodRow]) -> Result<(), String> {
            Ok(())
        }
    }

    fn ended(k: usize) -> Ended {
        Ended {
            intent: RequestIntent {
                request_id: format!("RAMP_c1_r{k}"),
                phase_id: "RAMP_c1".to_owned(),
                cache_hit_rate: 0,
                context_size: 100,
                cached_tokens: 0,
                unique_tokens: 100,
                question_tokens: 0,
                concurrency_level: 1,
                endpoint: String::new(),
                working_set_size: None,
            },
            exchange: Exchange {
                timeline: Timeline {
                    chunks: vec![ChunkStamp {
                        at: Duration::from_millis(1),
                        text_bytes: 1,
                    }],
                    ..Timeline::default()
                },
                usage: Usage {
                    completion_tokens: Some(1),
                    ..Usage::default()
                },
                text: String::new(),
                failure: None,
            },
        }
    }

    /// A chunk may hold several tokens; a server that sends no usage leaves only the text to count them by.
    #[test]
    fn what_arrived_of_a_cancelled_request_is_counted_by_the_tokenizer() {
        let tokenizer = TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
        let text = "Several words in one chunk of a stream.";
        let tokens = tokenizer.count(text) as u64;
        let mut sink = InlineSink::new(Interpreter {
            anchor: WallAnchor { unix_at_epoch: 0.0 },
            tokenizer,
        });
        let mut cancelled = ended(0);
        cancelled.exchange.usage = Usage::default();
        cancelled.exchange.text = text.to_owned();
        cancelled.exchange.failure = Some(metrics::Failure {
            kind: FailureKind::Cancelled,
            status: None,
            message: String::new(),
        });
        sink.push(cancelled);
        let rows = std::mem::take(&mut sink.rows);
        assert!(tokens > 1);
        assert_eq!(
            metrics::window::cancelled_tokens(&rows.failed[0], 0.0, 1.0),
            (100, tokens)
        );
    }

    /// The threads and the channel are real here, so the time is too: rows come faster than once per
    /// flush interval, and far fewer than a full batch of them.
    #[test]
    fn rows_that_keep_coming_are_on_disk_before_the_window_ends() {
        let on_disk = Arc::new(AtomicUsize::new(0));
        let interpreter = Interpreter {
            anchor: WallAnchor { unix_at_epoch: 0.0 },
            tokenizer: TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap(),
        };
        let mut sink = ThreadSink::start(interpreter, Counted(Arc::clone(&on_disk))).unwrap();
        let flushed = (0..FLUSH_ROWS / 2).any(|k| {
            sink.push(ended(k));
            thread::sleep(FLUSH_EVERY / 20);
            on_disk.load(Ordering::SeqCst) > 0
        });
        assert!(flushed);
    }
}
