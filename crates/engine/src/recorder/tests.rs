//! The writer thread, with real time and real threads.

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

    fn add_period(
        &mut self,
        _test: TestName,
        _period: PeriodRow,
        _health: HealthRow,
    ) -> Result<(), String> {
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
            phase_id: "RAMP_c1".into(),
            cache_hit_rate: 0,
            context_size: 100,
            cached_tokens: 0,
            unique_tokens: 100,
            question_tokens: 0,
            concurrency_level: 1,
            endpoint: "".into(),
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

/// A sustained test may last for days: rows that are on disk come back while it goes on, without their chunks, each
/// once, and what is left comes in the end.
#[tokio::test]
async fn rows_come_back_while_a_test_goes_on_each_of_them_once() {
    let on_disk = Arc::new(AtomicUsize::new(0));
    let interpreter = Interpreter {
        anchor: WallAnchor { unix_at_epoch: 0.0 },
        tokenizer: TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap(),
    };
    let mut sink = ThreadSink::start(interpreter, Counted(Arc::clone(&on_disk))).unwrap();
    let mut back = Vec::new();
    assert!(sink.spill().is_none(), "nothing was asked for yet");
    for k in 0..3 * BATCH {
        sink.push(ended(k));
        if k % 100 == 99 {
            let given = sink.spill().unwrap_or_default();
            assert!(on_disk.load(Ordering::SeqCst) >= back.len() + given.records.len());
            back.extend(given.records);
            tokio::time::sleep(GATHER / 10).await;
        }
    }
    // Most are back before anybody asks for the last ones. Real time: the writer is a thread of a busy machine.
    for _ in 0..1000 {
        if back.len() > BATCH {
            break;
        }
        tokio::time::sleep(GATHER).await;
        back.extend(sink.spill().unwrap_or_default().records);
    }
    assert!(back.len() > BATCH, "{}", back.len());
    back.extend(sink.collect().await.records);
    let ids = back.iter().map(|r| r.intent.request_id.clone());
    let all = (0..3 * BATCH).map(|k| format!("RAMP_c1_r{k}"));
    assert!(ids.eq(all));
    assert!(
        back.iter()
            .all(|r| r.token_timestamps.is_empty() && r.ttft.is_some())
    );
    assert!(sink.collect().await.records.is_empty());
}

/// What arrived of a cancelled one is still to be counted for its window.
#[tokio::test]
async fn failed_rows_on_disk_hold_no_chunks_but_those_of_cancelled_requests_do() {
    let interpreter = Interpreter {
        anchor: WallAnchor { unix_at_epoch: 0.0 },
        tokenizer: TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap(),
    };
    let mut sink = ThreadSink::start(interpreter, Counted(Arc::default())).unwrap();
    for (k, kind) in [FailureKind::Truncated, FailureKind::Cancelled]
        .into_iter()
        .enumerate()
    {
        let mut failed = ended(k);
        failed.exchange.failure = Some(metrics::Failure {
            kind,
            status: None,
            message: String::new(),
        });
        sink.push(failed);
    }
    let failed = sink.collect().await.failed;
    let n_chunks = failed.iter().map(|f| f.partial.timeline.chunks.len());
    assert!(n_chunks.eq([0, 1]));
}

/// Files that cannot even fail in order.
struct Broken;

impl RowFiles for Broken {
    fn append(
        &mut self,
        _records: &[RequestRecord],
        _failed: &[FailedRequest],
    ) -> Result<(), String> {
        panic!("a writer that breaks, on purpose")
    }

    fn add_period(
        &mut self,
        _test: TestName,
        _period: PeriodRow,
        _health: HealthRow,
    ) -> Result<(), String> {
        Ok(())
    }

    fn put_periods(&mut self, _test: TestName, _periods: &[PeriodRow]) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn nobody_waits_for_a_writer_that_has_gone() {
    let interpreter = Interpreter {
        anchor: WallAnchor { unix_at_epoch: 0.0 },
        tokenizer: TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap(),
    };
    let mut sink = ThreadSink::start(interpreter, Broken).unwrap();
    for _ in 0..2 {
        sink.push(ended(0));
        let error = sink.collect().await.write_error.unwrap();
        assert!(error.contains("has stopped"), "{error}");
    }
}
