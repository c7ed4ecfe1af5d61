//! One measured window at a level held: run, drain, account.

use std::time::Duration;

use metrics::Stats;
use metrics::health::{PartOf, Typical, WindowHealth};
use metrics::phase::PhaseRow;
use metrics::record::{FailedRequest, RequestRecord, WallAnchor};
use metrics::window::{LevelMetrics, SpeedMetric, TtftMetric, WindowSample};
use ramp::{Observation, WindowSpec};

use crate::event::{Observer, StudyEvent};
use crate::load::{Load, LoadContext, Pause, Phase};
use crate::pacer::Pacing;

/// A drain that takes longer than this is worth a line.
const SLOW_DRAIN: Duration = Duration::from_secs(15);
/// Requests with too few tokens that are logged one by one.
const SHORT_OUTPUTS_LOGGED: usize = 5;
/// A request is short when it yields less than this share of the tokens asked for.
const SHORT_OUTPUT_SHARE: f64 = 0.95;

/// What every window of a run has in common.
#[derive(Debug, Clone, Copy)]
pub struct WindowSettings {
    /// TTFT statistic held against the threshold.
    pub ttft_metric: TtftMetric,
    /// Speed statistic held against the threshold.
    pub speed_metric: SpeedMetric,
    /// `--strict-time-window`.
    pub strict: bool,
    /// Tokens asked for per request.
    pub output_tokens: u64,
    /// Pause after a window, outside of its record.
    pub cooldown: Duration,
    /// Turns stamps into Unix time.
    pub anchor: WallAnchor,
}

/// How a window ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowEnd {
    /// At its planned end.
    Complete,
    /// Too many failures in a row; the line says how and why.
    Failing(String),
    /// The run was asked to stop.
    Stopped,
}

/// Everything a window yields.
#[derive(Debug)]
pub struct WindowOutcome {
    /// How it ended.
    pub end: WindowEnd,
    /// Its row in `phase_metadata_*.csv`.
    pub phase: PhaseRow,
    /// What it says of its level; of one that ended early, as long as it lasted.
    pub level: LevelMetrics,
    /// The pause behind it, which is part of nothing.
    pub rested: Duration,
    /// Completed requests.
    pub records: Vec<RequestRecord>,
    /// Failed and cancelled ones.
    pub failed: Vec<FailedRequest>,
    /// What the client knows of its own part.
    pub health: WindowHealth,
    /// The row files could not be written; one line.
    pub write_error: Option<String>,
}

impl WindowOutcome {
    /// What the controller needs to know.
    #[must_use]
    pub fn observation(&self, settings: &WindowSettings) -> Observation {
        Observation {
            input_tps: self.level.deciding.input_tps,
            ttft: settings.ttft_metric.of(&self.level.ttft),
            speed: settings.speed_metric.of(&self.level.speed),
            valid: self.end == WindowEnd::Complete && self.level.is_valid(),
        }
    }
}

/// Longest wait for requests in flight when a window of `length` is over: max(5 s, min(30 s, length)).
#[must_use]
pub fn drain_limit(length: Duration) -> Duration {
    Duration::from_secs(5).max(Duration::from_secs(30).min(length))
}

/// Runs one window: holds the level for the planned length, ends by the clock and not by the next
/// completion, waits for stragglers, cancels what is left, and accounts.
///
/// With `coverage` the window goes on beyond its planned length until so many nominal input tokens were sent; `observer`
/// hears of it. What counts is then the length that it came to.
pub async fn run_window(
    context: &mut LoadContext<'_>,
    phase: Phase,
    spec: &WindowSpec,
    settings: &WindowSettings,
    coverage: Option<u64>,
    observer: &mut dyn Observer,
) -> WindowOutcome {
    context.live.phase(&spec.phase_id, spec.concurrency);
    let pacing = Pacing::Hold {
        level: spec.concurrency,
    };
    if coverage.is_some() {
        context.selector.cover();
    }
    let mut load = Load::start(&mut *context, phase.clone(), pacing, spec.length).await;
    let started = load.started();
    let mut pause = load.run_until(started + spec.length).await;
    let mut planned = spec.length;
    if let (Some(needed), Pause::TimeUp) = (coverage, &pause)
        && load.covered() < needed
    {
        let sent = load.covered();
        observer.observe(&StudyEvent::Extending { sent, needed });
        load.extend_meter();
        pause = load.run_until_covered(needed, None).await;
        planned = load.context().clock.now().saturating_sub(started);
    }
    let paused = load.context().clock.now();
    // Before the drain: what happens there is not measured.
    let felt = load.context().transport.felt();
    let metered_until = load.context().clock.now().min(started + planned);
    load.close_meter(metered_until);
    let limit = match &pause {
        Pause::TimeUp | Pause::Covered => drain_limit(planned),
        // Nothing of it will be used; do not wait for a server that fails or a person who has pressed Ctrl-C.
        Pause::Failing(_) | Pause::Stopped => Duration::ZERO,
    };
    let drained = load.drain(limit).await;
    let metered = load.take_meter(metered_until, Duration::ZERO);
    let covered = load.covered();
    let first_launch = load.first_launch().unwrap_or(started);
    let counts = load.counts();
    let ended = context.clock.now();
    let mut rows = context.sink.collect().await;
    let end = match (pause, context.stop.requested()) {
        (Pause::Failing(line), _) => WindowEnd::Failing(line),
        (Pause::Stopped, _) | (_, Some(_)) => WindowEnd::Stopped,
        (Pause::TimeUp | Pause::Covered, None) => WindowEnd::Complete,
    };
    // Who stops a run knows that it is not done.
    if let Some(needed) = coverage.filter(|needed| covered < *needed && end != WindowEnd::Stopped) {
        let sent = covered;
        observer.observe(&StudyEvent::NotCovered { sent, needed });
    }
    let anchor = settings.anchor;
    let length = if end == WindowEnd::Complete {
        planned
    } else {
        paused.saturating_sub(first_launch).min(planned)
    };
    let sample = WindowSample {
        first_launch: anchor.unix(first_launch),
        planned: length.as_secs_f64(),
        records: &rows.records,
        failed: &rows.failed,
    };
    let level = LevelMetrics::from_window(&sample, settings.strict);
    rows.failed
        .iter_mut()
        .for_each(FailedRequest::forget_chunks);
    // A window that was broken off shows no rate of its level, and readers leave it out of means.
    let of_complete = |value: f64| (end == WindowEnd::Complete).then_some(value);
    let with_itl = || rows.records.iter().filter(|r| r.itl_sample().is_some());
    let itl = Stats::of(with_itl().filter_map(RequestRecord::itl_sample));
    let typical = (Typical::from(&level.ttft), Typical::from(&itl));
    let part_of = match end {
        WindowEnd::Complete => PartOf::Level,
        WindowEnd::Failing(_) | WindowEnd::Stopped => PartOf::Nothing,
    };
    let held = (spec.concurrency, part_of);
    let mut health = metered.health(&phase, held, felt.as_ref(), typical);
    let delays = rows.records.iter().filter_map(|r| r.send_delay);
    health.send_delay_p99 = Stats::of(delays).p99.or(health.send_delay_p99);
    health.answer_tokens = Stats::of(with_itl().map(|r| r.output_tokens as f64)).avg;
    let phase = PhaseRow {
        phase_id: spec.phase_id.clone(),
        working_set_size: phase.working_set_size,
        cache_hit_rate: phase.cache_hit_rate,
        context_size: phase.context_size,
        concurrency_level: spec.concurrency,
        start_time: anchor.unix(started),
        end_time: anchor.unix(ended),
        duration: ended.saturating_sub(started).as_secs_f64(),
        num_requests_launched: counts.launched,
        num_requests_completed: level.completed,
        window_start_time: Some(anchor.unix(first_launch)),
        window_duration: Some(length.as_secs_f64()),
        window_input_tokens_per_sec: of_complete(level.window.input_tps),
        window_output_tokens_per_sec: of_complete(level.window.output_tps),
        num_requests_failed: Some(level.failed),
        num_requests_cancelled: Some(level.cancelled),
        client_limited: health.is_limited(),
    };
    let mut rested = Duration::ZERO;
    if end == WindowEnd::Complete {
        warn_of_drain(&spec.phase_id, drained.cancelled, drained.took, limit);
        let mut short = ShortOutputs::new(settings.output_tokens);
        short.look(&rows.records);
        short.tell_rest(&spec.phase_id);
        rested = cool_down(context, settings.cooldown).await;
    }
    WindowOutcome {
        end,
        phase,
        level,
        rested,
        records: rows.records,
        failed: rows.failed,
        health,
        write_error: rows.write_error,
    }
}

/// Rests, and says how long that took.
async fn cool_down(context: &LoadContext<'_>, pause: Duration) -> Duration {
    if pause.is_zero() {
        return Duration::ZERO;
    }
    let start = context.clock.now();
    tracing::info!("Cooling down for {:.0}s (--cooldown)", pause.as_secs_f64());
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = context.stop.wait() => {}
    }
    context.clock.now().saturating_sub(start)
}

fn warn_of_drain(phase_id: &str, cancelled: u64, took: Duration, limit: Duration) {
    if cancelled > 0 {
        tracing::warn!(
            "{cancelled} requests of {phase_id} were still running {:.0}s after its end and were cancelled; their tokens up to the end are counted",
            limit.as_secs_f64()
        );
    } else if took > SLOW_DRAIN {
        tracing::warn!(
            "The last requests of {phase_id} ended {:.1}s after its end",
            took.as_secs_f64()
        );
    }
}

/// Warns of requests that yielded too few tokens.
#[derive(Debug)]
pub(crate) struct ShortOutputs {
    wanted: u64,
    n: usize,
}

impl ShortOutputs {
    /// So many tokens are asked for.
    pub(crate) fn new(wanted: u64) -> Self {
        Self { wanted, n: 0 }
    }

    /// Tells of the first few.
    pub(crate) fn look(&mut self, records: &[RequestRecord]) {
        let wanted = self.wanted;
        let is_short =
            |r: &&RequestRecord| (r.output_tokens as f64) < SHORT_OUTPUT_SHARE * wanted as f64;
        for record in records.iter().filter(is_short) {
            self.n += 1;
            if self.n <= SHORT_OUTPUTS_LOGGED {
                tracing::warn!(
                    "      [{}] Output tokens below expected: {}/{wanted} ({:.1}%) - TTFT: {:.3}s",
                    record.intent.request_id,
                    record.output_tokens,
                    100.0 * record.output_tokens as f64 / wanted as f64,
                    record.ttft.unwrap_or_default(),
                );
            }
        }
    }

    /// Counts all of them, where there were more; `of` is what they belong to.
    pub(crate) fn tell_rest(&self, of: &str) {
        if self.n > SHORT_OUTPUTS_LOGGED {
            tracing::warn!(
                "{} requests of {of} got fewer than 95% of the output tokens asked for; --ignore-eos helps where the server knows it",
                self.n
            );
        }
    }
}
