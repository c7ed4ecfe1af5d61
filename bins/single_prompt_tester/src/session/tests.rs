//! The order of sending, failures and stops, over a transport that answers as it is told, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use metrics::timeline::{ChunkStamp, Failure, Timeline, Usage};
use tokio::time::sleep;
use workload::{PieceTable, Seed, TextTokenizer};

use super::*;

/// What comes back for one request.
#[derive(Debug, Clone)]
enum Reply {
    /// An answer: seconds to the first token, text, cached tokens.
    Text(f64, String, Option<u64>),
    /// A status.
    Status(u16),
    /// Nothing, until cancelled.
    Hangs,
}

/// One request as the transport saw it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    id: String,
    at: Duration,
    kind: Kind,
    prompt: String,
    /// Connections that stood ready.
    ready: usize,
}

type Script = Rc<dyn Fn(&Seen, usize) -> Reply>;

#[derive(Clone)]
struct Scripted {
    clock: RunClock,
    script: Script,
    seen: Rc<RefCell<Vec<Seen>>>,
    ready: Rc<RefCell<usize>>,
    with_usage: bool,
}

impl Scripted {
    fn new(clock: RunClock, script: impl Fn(&Seen, usize) -> Reply + 'static) -> Self {
        Self {
            clock,
            script: Rc::new(script),
            seen: Rc::default(),
            ready: Rc::default(),
            with_usage: true,
        }
    }

    fn ids(&self) -> Vec<String> {
        self.seen
            .borrow()
            .iter()
            .map(|seen| seen.id.clone())
            .collect()
    }
}

impl Transport for Scripted {
    fn endpoints(&self) -> &[String] {
        &[]
    }

    fn prepare<'a>(&'a self, per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            sleep(Duration::from_millis(40)).await;
            *self.ready.borrow_mut() = per_endpoint[0];
        })
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        let this = self.clone();
        Box::pin(async move {
            let launched = this.clock.now();
            let seen = Seen {
                id: request.request_id.clone(),
                at: launched,
                kind: request.kind,
                prompt: request.prompt.plain_text(),
                ready: *this.ready.borrow(),
            };
            let nth = this.seen.borrow().len();
            let reply = (this.script)(&seen, nth);
            this.seen.borrow_mut().push(seen);
            let mut exchange = Exchange {
                timeline: Timeline {
                    intended: request.intended,
                    launched,
                    ..Timeline::default()
                },
                usage: Usage::default(),
                text: String::new(),
                failure: None,
            };
            let fail = |kind, status, message: &str| {
                Some(Failure {
                    kind,
                    status,
                    message: message.to_owned(),
                })
            };
            match reply {
                Reply::Text(ttft, text, cached_tokens) => {
                    sleep(Duration::from_secs_f64(ttft)).await;
                    exchange.timeline.chunks.push(ChunkStamp {
                        at: this.clock.now(),
                        text_bytes: 1,
                    });
                    sleep(Duration::from_millis(10)).await;
                    exchange.timeline.chunks.push(ChunkStamp {
                        at: this.clock.now(),
                        text_bytes: 1,
                    });
                    // Usage and [DONE].
                    sleep(Duration::from_millis(5)).await;
                    exchange.text = text;
                    if this.with_usage {
                        exchange.usage = Usage {
                            prompt_tokens: Some(request.prompt.expected_tokens() + 9),
                            completion_tokens: Some(2),
                            cached_tokens,
                        };
                    }
                }
                Reply::Status(status) => {
                    sleep(Duration::from_millis(3)).await;
                    exchange.failure = fail(FailureKind::Status, Some(status), "no");
                }
                Reply::Hangs => {
                    request.cancel.cancelled().await;
                    exchange.failure = fail(FailureKind::Cancelled, None, "stopped");
                }
            }
            exchange.timeline.finished = this.clock.now();
            exchange
        })
    }
}

/// Writes everything down.
#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    ends_after: Option<usize>,
    n_batches: usize,
}

impl Observer for Notes {
    fn observe(&mut self, event: &Event<'_>) {
        let line = match event {
            Event::WarmUpFailed(failure) => format!("warm-up {}", failure.kind),
            Event::SizeStarted { context_size } => format!("size {context_size}"),
            Event::BatchStarted {
                kind, n_prompts, ..
            } => format!("{n_prompts} {kind}"),
            Event::Answered { .. } | Event::Failed => return,
            Event::BatchDone(done) => {
                self.n_batches += 1;
                format!(
                    "{} answers, {} failures",
                    done.answers().count(),
                    done.failures().count()
                )
            }
            Event::IterationDone(rows) => format!("iteration of {}", rows.len()),
            Event::SizeSkipped { reason, .. } => format!("skipped {reason:?}"),
            Event::Doubt(doubt) => format!("doubt {doubt}"),
            Event::SizeDone { rows, .. } => format!("done {}", rows.len()),
        };
        self.lines.push(line);
    }

    fn wants_end(&self) -> bool {
        self.ends_after.is_some_and(|n| self.n_batches >= n)
    }
}

impl Notes {
    fn about(&self, word: &str) -> Vec<&str> {
        let lines = self.lines.iter().map(String::as_str);
        lines.filter(|line| line.contains(word)).collect()
    }
}

fn settings(sizes: &[u64], n: u32, r: u32, iterations: u32) -> Settings {
    Settings {
        context_sizes: sizes.to_vec(),
        num_iterations: iterations,
        concurrent_prompts: n,
        cached_repeats: r,
        compare_text: true,
        n_threads: 2,
    }
}

fn maker() -> PromptMaker {
    let tokenizer = TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
    PromptMaker::new(&PieceTable::build(&tokenizer).unwrap(), &Seed::new(3))
}

async fn session(
    settings: &Settings,
    transport: &Scripted,
    stop: &Stop,
    notes: &mut Notes,
) -> SessionEnd {
    let maker = maker();
    let parts = Parts {
        transport,
        clock: transport.clock,
        stop,
        maker: &maker,
    };
    run(settings, parts, notes).await
}

fn is_cold(seen: &Seen) -> bool {
    seen.id.contains("UNIQUE")
}

/// 0.5 s cold, 0.1 s again.
fn normal(seen: &Seen, _: usize) -> Reply {
    if is_cold(seen) {
        Reply::Text(0.5, "same".to_owned(), Some(0))
    } else {
        Reply::Text(0.1, "same".to_owned(), Some(96))
    }
}

fn seconds(t: f64) -> Duration {
    Duration::from_secs_f64(t)
}

#[tokio::test(start_paused = true)]
async fn every_batch_leaves_at_one_moment_on_connections_that_stand_ready() {
    let transport = Scripted::new(RunClock::start(), normal);
    let mut notes = Notes::default();
    let end = session(
        &settings(&[100, 200], 3, 2, 2),
        &transport,
        &Stop::new(),
        &mut notes,
    )
    .await;
    let seen = transport.seen.borrow();
    assert_eq!(seen.len(), 1 + 2 * 2 * 3 * 3);
    assert_eq!(
        (seen[0].kind, seen[0].id.as_str()),
        (Kind::WarmUp, "WARMUP")
    );
    assert!(
        seen.iter().all(|s| s.ready == 3),
        "a request paid for its connection"
    );
    for batch in seen[1..].chunks(3) {
        assert!(
            batch.iter().all(|s| s.at == batch[0].at),
            "a batch was torn apart"
        );
        let numbers: Vec<&str> = batch
            .iter()
            .map(|s| s.id.rsplit('_').next().unwrap())
            .collect();
        assert_eq!(numbers, ["r0", "r1", "r2"]);
    }
    for iteration in seen[1..].chunks(9) {
        let prompts: Vec<&str> = iteration.iter().map(|s| s.prompt.as_str()).collect();
        assert_eq!(prompts[..3], prompts[3..6]);
        assert_eq!(prompts[..3], prompts[6..]);
    }
    let types: Vec<&str> = end.rows[..9]
        .iter()
        .map(|row| row.prompt_type.as_str())
        .collect();
    assert_eq!(
        types,
        [
            "unique",
            "unique",
            "unique",
            "cached_r1",
            "cached_r1",
            "cached_r1",
            "cached_r2",
            "cached_r2",
            "cached_r2"
        ]
    );
    assert_eq!(
        (end.n_failed, end.n_not_sent, end.stopped, end.aborted),
        (0, 0, None, false)
    );
    assert_eq!(notes.about("done"), ["done 18", "done 18"]);
}

#[tokio::test(start_paused = true)]
async fn times_end_with_the_last_text_and_with_the_stream() {
    let transport = Scripted::new(RunClock::start(), normal);
    let end = session(
        &settings(&[100], 1, 1, 1),
        &transport,
        &Stop::new(),
        &mut Notes::default(),
    )
    .await;
    let near = |value: Option<f64>, expected: f64| {
        assert!(
            (value.unwrap() - expected).abs() < 1e-6,
            "{value:?} for {expected}"
        );
    };
    let row = &end.rows[0];
    near(row.ttft, 0.5);
    near(row.generation_time, 0.01);
    near(row.total_time, 0.515);
    near(row.output_tokens_per_sec, 200.0);
    assert_eq!(
        (row.reported_cached_tokens, row.counted_locally),
        (Some(0), Some(false))
    );
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_failed_cold_is_not_repeated_and_the_others_are() {
    let transport = Scripted::new(RunClock::start(), |seen, n| {
        if seen.id == "CTX100_I0_UNIQUE_r1" {
            Reply::Status(503)
        } else {
            normal(seen, n)
        }
    });
    let mut notes = Notes::default();
    let end = session(
        &settings(&[100], 3, 2, 2),
        &transport,
        &Stop::new(),
        &mut notes,
    )
    .await;
    assert_eq!((end.n_failed, end.n_not_sent), (1, 2));
    assert_eq!(end.rows.len(), 2 * 9 - 3);
    let again: Vec<String> = transport
        .ids()
        .into_iter()
        .filter(|id| id.starts_with("CTX100_I0_CACHED_R1"))
        .collect();
    assert_eq!(again, ["CTX100_I0_CACHED_R1_r0", "CTX100_I0_CACHED_R1_r2"]);
    let indices: Vec<_> = end.rows[2..4].iter().map(|row| row.prompt_index).collect();
    assert_eq!(indices, [Some(0), Some(2)]);
    assert!(end.skipped.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_size_that_is_refused_ends_at_once_and_the_others_go_on() {
    let transport = Scripted::new(RunClock::start(), |seen, n| {
        if seen.id.starts_with("CTX200_") {
            Reply::Status(400)
        } else {
            normal(seen, n)
        }
    });
    let mut notes = Notes::default();
    let end = session(
        &settings(&[100, 200, 300], 1, 1, 4),
        &transport,
        &Stop::new(),
        &mut notes,
    )
    .await;
    let tried = transport
        .ids()
        .iter()
        .filter(|id| id.starts_with("CTX200_"))
        .count();
    assert_eq!(tried, 1);
    // One repetition and three iterations of two requests.
    assert_eq!((end.n_failed, end.n_not_sent), (1, 1 + 3 * 2));
    assert_eq!(end.rows.len(), 16);
    let refused = SkipReason::Refused {
        status: 400,
        message: "no".to_owned(),
    };
    assert_eq!(end.skipped, [(200, refused)]);
    assert_eq!(notes.about("done"), ["done 8", "done 0", "done 8"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_some_prompts_is_no_refusal_of_the_size() {
    let transport = Scripted::new(RunClock::start(), |seen, n| {
        if seen.id.ends_with("UNIQUE_r0") {
            Reply::Status(400)
        } else {
            normal(seen, n)
        }
    });
    let end = session(
        &settings(&[100], 2, 1, 4),
        &transport,
        &Stop::new(),
        &mut Notes::default(),
    )
    .await;
    assert!(end.skipped.is_empty());
    assert_eq!((end.n_failed, end.rows.len()), (4, 8));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_recovers_in_time_is_measured() {
    let transport = Scripted::new(RunClock::start(), |seen, n| {
        if seen.id.starts_with("CTX100_I0") || seen.id.starts_with("CTX100_I1") {
            Reply::Status(500)
        } else {
            normal(seen, n)
        }
    });
    let end = session(
        &settings(&[100], 1, 1, 4),
        &transport,
        &Stop::new(),
        &mut Notes::default(),
    )
    .await;
    assert_eq!((end.rows.len(), end.n_failed, end.n_not_sent), (4, 2, 2));
    let seen = transport.seen.borrow();
    assert!(seen[2].at - seen[1].at >= PAUSE_AFTER_FAILURE);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_costs_three_iterations_of_each_size() {
    let transport = Scripted::new(RunClock::start(), |_, _| Reply::Status(502));
    let mut notes = Notes::default();
    let end = session(
        &settings(&[100, 200], 1, 1, 1000),
        &transport,
        &Stop::new(),
        &mut notes,
    )
    .await;
    assert_eq!(transport.ids().len(), 1 + 2 * 3);
    assert_eq!(
        end.skipped,
        [(100, SkipReason::NoAnswer), (200, SkipReason::NoAnswer)]
    );
    assert_eq!(end.n_failed + end.n_not_sent, 2 * 2 * 1000);
    assert_eq!(notes.about("warm-up"), ["warm-up status"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_keeps_what_was_answered_and_blames_nobody() {
    let stop = Stop::new();
    let asked = stop.clone();
    let transport = Scripted::new(RunClock::start(), move |seen, n| {
        if seen.id != "CTX200_I0_CACHED_r1" {
            return normal(seen, n);
        }
        let asked = asked.clone();
        tokio::spawn(async move {
            sleep(seconds(60.0)).await;
            asked.request(StopReason::Terminate);
        });
        Reply::Hangs
    });
    let mut notes = Notes::default();
    let settings = settings(&[100, 200, 300], 2, 1, 1);
    let end = session(&settings, &transport, &stop, &mut notes).await;
    assert_eq!(
        (end.stopped, end.aborted),
        (Some(StopReason::Terminate), false)
    );
    // All of the first size; of the second both cold ones and the repetition that had ended.
    assert_eq!(end.rows.len(), 4 + 3);
    assert_eq!(end.n_failed, 0);
    assert_eq!(notes.lines.last().map(String::as_str), Some("done 3"));
    assert!(!notes.lines.contains(&"size 300".to_owned()));
    // What had been compared before the stop counts.
    assert_eq!(end.comparison.n_compared, 3);
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_first_answer_sends_nothing_more() {
    let transport = Scripted::new(RunClock::start(), |_, _| Reply::Hangs);
    let stop = Stop::new();
    stop.request(StopReason::Interrupt);
    let mut notes = Notes::default();
    let end = session(&settings(&[100], 1, 1, 1), &transport, &stop, &mut notes).await;
    assert!(transport.ids().is_empty());
    assert!(
        end.rows.is_empty() && notes.lines.is_empty(),
        "{:?}",
        notes.lines
    );
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_can_store_no_more_ends_the_session() {
    let transport = Scripted::new(RunClock::start(), normal);
    let mut notes = Notes {
        ends_after: Some(3),
        ..Notes::default()
    };
    let end = session(
        &settings(&[100, 200], 1, 1, 2),
        &transport,
        &Stop::new(),
        &mut notes,
    )
    .await;
    assert_eq!((end.rows.len(), end.stopped, end.aborted), (3, None, true));
    assert_eq!(transport.ids().len(), 1 + 3);
}

#[tokio::test(start_paused = true)]
async fn answers_from_cache_are_compared_word_by_word() {
    let transport = Scripted::new(RunClock::start(), |seen, _| {
        let text = match seen.id.as_str() {
            "CTX100_I0_CACHED_R2_r0" => "once upon a dime",
            "CTX100_I1_CACHED_R1_r0" | "CTX100_I1_CACHED_R2_r0" => "twice",
            _ => "once upon a time",
        };
        Reply::Text(0.1, text.to_owned(), None)
    });
    let end = session(
        &settings(&[100], 2, 2, 2),
        &transport,
        &Stop::new(),
        &mut Notes::default(),
    )
    .await;
    let expected = OutputComparison {
        n_compared: 8,
        n_different: 3,
        n_repeated_prompts: 4,
        n_unstable_prompts: 1,
    };
    assert_eq!(end.comparison, expected);
    let first = &end.differences[0];
    assert_eq!(
        (
            first.n_common_chars,
            first.cold.as_str(),
            first.cached.as_str()
        ),
        (12, "time", "dime")
    );
    assert_eq!(
        (first.iteration, first.prompt_index, first.kind),
        (0, 0, PromptKind::CachedRepeat(2))
    );
    let matches: Vec<_> = end.rows.iter().map(|row| row.matches_cold_text).collect();
    assert_eq!(
        matches[..6],
        [None, None, Some(true), Some(true), Some(false), Some(true)]
    );
}

#[tokio::test(start_paused = true)]
async fn where_answers_are_drawn_at_random_none_is_compared() {
    let transport = Scripted::new(RunClock::start(), normal);
    let settings = Settings {
        compare_text: false,
        ..settings(&[100], 1, 1, 1)
    };
    let end = session(&settings, &transport, &Stop::new(), &mut Notes::default()).await;
    assert_eq!(end.comparison, OutputComparison::default());
    assert!(end.rows.iter().all(|row| row.matches_cold_text.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_usage_is_counted_here_and_told_once() {
    let mut transport = Scripted::new(RunClock::start(), normal);
    transport.with_usage = false;
    let mut notes = Notes::default();
    let end = session(
        &settings(&[100, 200], 1, 1, 1),
        &transport,
        &Stop::new(),
        &mut notes,
    )
    .await;
    assert_eq!(notes.about("no token counts").len(), 1);
    let row = &end.rows[0];
    assert_eq!(row.prompt_tokens, 100 + maker().suffix_tokens());
    assert_eq!(
        (row.counted_locally, row.reported_cached_tokens),
        (Some(true), None)
    );
    assert!(row.completion_tokens > 0);
}

#[tokio::test(start_paused = true)]
async fn cold_prompts_from_cache_are_doubted() {
    let transport = Scripted::new(RunClock::start(), |_, _| {
        Reply::Text(0.1, "x".to_owned(), Some(96))
    });
    let mut notes = Notes::default();
    session(
        &settings(&[100], 1, 1, 2),
        &transport,
        &Stop::new(),
        &mut notes,
    )
    .await;
    let doubts = notes.about("doubt");
    assert_eq!(doubts.len(), 1, "{doubts:?}");
    assert!(
        doubts[0].contains("2 of 2 prompts that nobody had sent before"),
        "{doubts:?}"
    );
}
