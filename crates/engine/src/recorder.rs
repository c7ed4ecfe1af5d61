//! From ended requests to rows, off the thread that reads streams.
//!
//! The load loop hands over each ended request and thinks no more of it. A writer thread turns it into a
//! row, counts tokens where the server did not, appends it to the CSV within seconds, and gives the rows of
//! a window back when the window is judged.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use metrics::record::{FailedRequest, RequestIntent, RequestRecord, WallAnchor};
use metrics::timeline::Exchange;
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
        let Ended { intent, exchange } = ended;
        match exchange.failure.clone() {
            None => {
                let local = exchange
                    .usage
                    .completion_tokens
                    .is_none()
                    .then(|| self.tokenizer.count(&exchange.text) as u64);
                let record = RequestRecord::from_exchange(intent, &exchange, self.anchor, local);
                tracing::debug!("{}", told(&record));
                rows.records.push(record);
            }
            Some(failure) => rows.failed.push(FailedRequest {
                intent,
                kind: failure.kind,
                status: failure.status,
                message: failure.message,
                launch_time: self.anchor.unix(exchange.timeline.launched),
                elapsed: exchange
                    .timeline
                    .finished
                    .saturating_sub(exchange.timeline.launched)
                    .as_secs_f64(),
                partial: exchange,
            }),
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

    fn collect(&mut self) -> LocalBoxFuture<'_, WindowRows> {
        Box::pin(std::future::ready(std::mem::take(&mut self.rows)))
    }
}

enum Message {
    Ended(Box<Ended>),
    Collect(oneshot::Sender<WindowRows>),
}

/// The writer thread's handle.
#[derive(Debug)]
pub struct ThreadSink {
    queue: Option<SyncSender<Message>>,
    /// Messages that found the queue full. They wait here, in order, and nothing is lost.
    backlog: VecDeque<Message>,
    overflowed: u64,
    writer: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ended(_) => "Ended",
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
        let writer = thread::Builder::new()
            .name("rows".to_owned())
            .spawn(move || write_rows(&interpreter, files, &inbox))?;
        Ok(Self {
            queue: Some(queue),
            backlog: VecDeque::new(),
            overflowed: 0,
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

fn write_rows(interpreter: &Interpreter, mut files: impl RowFiles, inbox: &Receiver<Message>) {
    let mut window = WindowRows::default();
    // Rows before these indices are on disk.
    let (mut records_on_disk, mut failed_on_disk) = (0, 0);
    let mut flush =
        |window: &mut WindowRows, records_on_disk: &mut usize, failed_on_disk: &mut usize| {
            let (records, failed) = (
                &window.records[*records_on_disk..],
                &window.failed[*failed_on_disk..],
            );
            if records.is_empty() && failed.is_empty() {
                return;
            }
            if let Err(line) = files.append(records, failed) {
                window.write_error.get_or_insert(line);
            }
            (*records_on_disk, *failed_on_disk) = (window.records.len(), window.failed.len());
        };
    // When the oldest row came that is not on disk. Rows that keep coming must not put the flush off.
    let mut waiting_since: Option<Instant> = None;
    loop {
        let wait = waiting_since.map_or(FLUSH_EVERY, |since| {
            FLUSH_EVERY.saturating_sub(since.elapsed())
        });
        match inbox.recv_timeout(wait) {
            Ok(Message::Ended(ended)) => {
                interpreter.interpret(*ended, &mut window);
                let n_waiting =
                    window.records.len() + window.failed.len() - records_on_disk - failed_on_disk;
                let since = *waiting_since.get_or_insert_with(Instant::now);
                if n_waiting >= FLUSH_ROWS || since.elapsed() >= FLUSH_EVERY {
                    flush(&mut window, &mut records_on_disk, &mut failed_on_disk);
                    waiting_since = None;
                }
            }
            Ok(Message::Collect(reply)) => {
                waiting_since = None;
                flush(&mut window, &mut records_on_disk, &mut failed_on_disk);
                (records_on_disk, failed_on_disk) = (0, 0);
                // The asker may be gone when the run was aborted; its rows are on disk.
                drop(reply.send(std::mem::take(&mut window)));
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                waiting_since = None;
                flush(&mut window, &mut records_on_disk, &mut failed_on_disk);
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                flush(&mut window, &mut records_on_disk, &mut failed_on_disk);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
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
