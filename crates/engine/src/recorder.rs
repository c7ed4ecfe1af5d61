//! From ended requests to rows, off the thread that reads streams.
//!
//! The load loop hands over each ended request and thinks no more of it. A writer thread turns it into a
//! row, counts tokens where the server did not, appends it to the CSV within seconds, and gives the rows of
//! a window back when the window is judged. Requests are handed over in batches: the writer is woken once for all that
//! end within a few milliseconds. What it gives back of a row holds no list of chunks any more; the file has it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use metrics::PeriodRow;
use metrics::health::HealthRow;
use metrics::record::{FailedRequest, RequestIntent, RequestRecord, WallAnchor};
use metrics::timeline::{Exchange, FailureKind};
use report::test_name::TestName;
use tokio::sync::oneshot::{self, error::TryRecvError};
use workload::TextTokenizer;

/// How long the writer lets a batch gather from its first request on.
const GATHER: Duration = Duration::from_millis(20);
/// … or how many requests.
const BATCH: usize = 512;
/// More requests that wait for the writer than this are worth a word.
const MANY_WAITING: usize = 16_384;
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

/// The rows of one window. Those that were written to a file know nothing of single chunks any more.
#[derive(Debug, Default)]
pub struct WindowRows {
    /// Completed requests, in the order in which they ended.
    pub records: Vec<RequestRecord>,
    /// Failed and cancelled ones.
    pub failed: Vec<FailedRequest>,
    /// First error of the row files, as a line; the rows above are complete all the same.
    pub write_error: Option<String>,
}

impl WindowRows {
    /// Puts later rows behind these.
    fn append(&mut self, later: Self) {
        self.records.extend(later.records);
        self.failed.extend(later.failed);
        self.write_error = self.write_error.take().or(later.write_error);
    }

    /// When there is no writer to ask.
    fn of_stopped_writer() -> Self {
        Self {
            write_error: Some("the thread that writes rows has stopped".to_owned()),
            ..Self::default()
        }
    }
}

/// Where ended requests go.
pub trait RecordSink {
    /// Takes one request. Never blocks.
    fn push(&mut self, ended: Ended);

    /// Takes a period that is over and what the client says of itself in it: behind those of its test that were given
    /// before. Never blocks.
    fn add_period(&mut self, test: TestName, period: PeriodRow, health: HealthRow);

    /// Takes all periods of a test that is over; they replace what was given before. Never blocks.
    fn put_periods(&mut self, test: TestName, periods: Vec<PeriodRow>);

    /// The first error of the files since the last [`RecordSink::collect`], as far as it is known.
    fn write_error(&self) -> Option<String>;

    /// Gives back what was pushed up to the last call but one or so and not given back yet, written to disk where the
    /// sink writes: for a load that goes on and on. Never blocks; what is not there yet comes with a later call, or with
    /// [`RecordSink::collect`].
    fn spill(&mut self) -> Option<WindowRows>;

    /// Gives back everything that was pushed and not given back yet, written to disk where the sink writes.
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

    /// Adds a period to those of a test, and what the client says of itself in it to that of the run.
    ///
    /// # Errors
    /// One line that names the file.
    fn add_period(
        &mut self,
        test: TestName,
        period: PeriodRow,
        health: HealthRow,
    ) -> Result<(), String>;

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
                exchange.text = String::new();
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

    fn add_period(&mut self, _test: TestName, _period: PeriodRow, _health: HealthRow) {}

    fn put_periods(&mut self, _test: TestName, _periods: Vec<PeriodRow>) {}

    fn write_error(&self) -> Option<String> {
        None
    }

    fn spill(&mut self) -> Option<WindowRows> {
        Some(std::mem::take(&mut self.rows))
    }

    fn collect(&mut self) -> LocalBoxFuture<'_, WindowRows> {
        Box::pin(std::future::ready(std::mem::take(&mut self.rows)))
    }
}

enum Message {
    Ended(Box<Ended>),
    Period(TestName, Box<(PeriodRow, HealthRow)>),
    Periods(TestName, Vec<PeriodRow>),
    /// Gives the rows back; with `Last` the writer forgets its trouble, which is in them.
    Collect(oneshot::Sender<WindowRows>, Part),
}

/// Which rows are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Those so far; more will come.
    Some,
    /// The last ones of a window or test.
    Last,
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: Vec<Message>,
    /// Somebody waits for an answer.
    is_urgent: bool,
    /// Nothing more will come.
    is_closed: bool,
    /// The writer has gone.
    is_abandoned: bool,
}

/// Says so when the writer goes, also by a panic: nobody shall wait for its answer.
struct Leaving(Arc<Inbox>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_abandoned = true;
        waiting.messages.clear();
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Held for a push or a swap, never while anything is written.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message and returns how many wait. Wakes the writer only where it has nothing yet or has enough.
    fn put(&self, message: Message) -> usize {
        let mut waiting = self.lock();
        if waiting.is_abandoned {
            return 0;
        }
        waiting.is_urgent |= matches!(message, Message::Collect(..));
        waiting.messages.push(message);
        let n = waiting.messages.len();
        if n == 1 || n == BATCH || waiting.is_urgent {
            self.bell.notify_one();
        }
        n
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.bell.notify_one();
    }

    /// Waits up to `wait` for a first message, then lets others gather; `None` when nothing more will come.
    fn take(&self, wait: Duration) -> Option<Vec<Message>> {
        let waiting = self.lock();
        let is_idle = |w: &mut Waiting| w.messages.is_empty() && !w.is_closed;
        let (mut waiting, _) = self
            .bell
            .wait_timeout_while(waiting, wait, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        if !waiting.messages.is_empty() {
            let gathers =
                |w: &mut Waiting| w.messages.len() < BATCH && !w.is_urgent && !w.is_closed;
            (waiting, _) = self
                .bell
                .wait_timeout_while(waiting, GATHER, gathers)
                .unwrap_or_else(PoisonError::into_inner);
        }
        waiting.is_urgent = false;
        let messages = std::mem::take(&mut waiting.messages);
        (!messages.is_empty() || !waiting.is_closed).then_some(messages)
    }
}

/// The writer thread's handle.
#[derive(Debug)]
pub struct ThreadSink {
    inbox: Arc<Inbox>,
    /// Rows that were asked for and are not there yet.
    asked: Option<oneshot::Receiver<WindowRows>>,
    /// So many waited that it is worth a word.
    has_piled_up: bool,
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
            Self::Period(..) => "Period",
            Self::Periods(..) => "Periods",
            Self::Collect(..) => "Collect",
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
        let inbox = Arc::<Inbox>::default();
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
        let of_writer = Arc::clone(&inbox);
        let writer = thread::Builder::new()
            .name("rows".to_owned())
            .spawn(move || {
                let leaving = Leaving(of_writer);
                writer.work(&leaving.0);
            })?;
        Ok(Self {
            inbox,
            asked: None,
            has_piled_up: false,
            trouble,
            writer: Some(writer),
        })
    }

    fn offer(&mut self, message: Message) {
        self.has_piled_up |= self.inbox.put(message) > MANY_WAITING;
    }

    fn ask(&mut self, part: Part) -> oneshot::Receiver<WindowRows> {
        let (reply, rows) = oneshot::channel();
        self.offer(Message::Collect(reply, part));
        rows
    }
}

impl RecordSink for ThreadSink {
    fn push(&mut self, ended: Ended) {
        self.offer(Message::Ended(Box::new(ended)));
    }

    fn add_period(&mut self, test: TestName, period: PeriodRow, health: HealthRow) {
        self.offer(Message::Period(test, Box::new((period, health))));
    }

    fn put_periods(&mut self, test: TestName, periods: Vec<PeriodRow>) {
        self.offer(Message::Periods(test, periods));
    }

    fn write_error(&self) -> Option<String> {
        // Asked between periods only; the writer holds the lock for as long as it takes to clone a line.
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spill(&mut self) -> Option<WindowRows> {
        let ready = match self.asked.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return None,
            Some(Err(TryRecvError::Closed)) => Some(WindowRows::of_stopped_writer()),
            Some(Ok(rows)) => Some(rows),
            None => None,
        };
        self.asked = Some(self.ask(Part::Some));
        ready
    }

    fn collect(&mut self) -> LocalBoxFuture<'_, WindowRows> {
        Box::pin(async move {
            let before = self.asked.take();
            // No stream is being read between windows, so waiting for the writer here delays no stamp.
            let last = self.ask(Part::Last);
            let mut rows = WindowRows::default();
            for part in before.into_iter().chain([last]) {
                let part = part.await;
                rows.append(part.unwrap_or_else(|_| WindowRows::of_stopped_writer()));
            }
            if std::mem::take(&mut self.has_piled_up) {
                tracing::warn!(
                    "rows were written more slowly than requests ended; they were kept in memory meanwhile"
                );
            }
            rows
        })
    }
}

impl Drop for ThreadSink {
    fn drop(&mut self) {
        self.inbox.close();
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
    fn work(&mut self, inbox: &Inbox) {
        loop {
            let wait = self.waiting_since.map_or(FLUSH_EVERY, |since| {
                FLUSH_EVERY.saturating_sub(since.elapsed())
            });
            let Some(messages) = inbox.take(wait) else {
                self.flush();
                return;
            };
            if messages.is_empty() {
                self.flush();
            }
            for message in messages {
                self.handle(message);
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Ended(ended) => {
                self.interpreter.interpret(*ended, &mut self.window);
                let rows = self.window.records.len() + self.window.failed.len();
                let n_waiting = rows - self.records_on_disk - self.failed_on_disk;
                let since = *self.waiting_since.get_or_insert_with(Instant::now);
                if n_waiting >= FLUSH_ROWS || since.elapsed() >= FLUSH_EVERY {
                    self.flush();
                }
            }
            Message::Period(test, row) => {
                // Requests first: a period on disk has its requests on disk.
                self.flush();
                let written = self.files.add_period(test, row.0, row.1);
                self.note(written);
            }
            Message::Periods(test, periods) => {
                self.flush();
                let written = self.files.put_periods(test, &periods);
                self.note(written);
            }
            Message::Collect(reply, part) => {
                self.flush();
                (self.records_on_disk, self.failed_on_disk) = (0, 0);
                if part == Part::Last {
                    *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                // The asker may be gone when the run was aborted; its rows are on disk.
                drop(reply.send(std::mem::take(&mut self.window)));
            }
        }
    }

    fn flush(&mut self) {
        self.waiting_since = None;
        let records = &mut self.window.records[self.records_on_disk..];
        let failed = &mut self.window.failed[self.failed_on_disk..];
        if records.is_empty() && failed.is_empty() {
            return;
        }
        let written = self.files.append(records, failed);
        records.iter_mut().for_each(RequestRecord::forget_chunks);
        // What arrived of a cancelled one counts for its window, which is not accounted for yet.
        let failed = failed.iter_mut().filter(|request| !request.is_cancelled());
        failed.for_each(FailedRequest::forget_chunks);
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
mod tests;
