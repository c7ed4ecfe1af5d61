//! The live display on stderr: what is being tested, how far the run is, and what the server does now.
//!
//! Promises: shown only on a terminal and never with `--brief`; log lines go above it; updating it is
//! a few atomic stores, so a thread that reads streams may do so for every token. It is drawn by a
//! thread of its own, at most five times a second. It shows live figures only; nothing that is
//! recorded is computed here.

mod live;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console::Console;
use live::{Counters, Recent, View};

/// Time between two drawings.
const FRAME: Duration = Duration::from_millis(200);
/// Steps of the bar.
const BAR_STEPS: u64 = 1000;

/// What the run tells the display; clones share it.
#[derive(Debug, Clone, Default)]
pub struct ProgressHandle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    labels: Mutex<Labels>,
    concurrency: AtomicU32,
    n_in_flight: AtomicU32,
    /// Milliseconds; 0 while unknown.
    expected_total: AtomicU64,
    n_first_tokens: AtomicU64,
    ttft_micros: AtomicU64,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    n_finished: AtomicU64,
    n_failed: AtomicU64,
}

#[derive(Debug, Default, Clone)]
struct Labels {
    test: String,
    phase: String,
}

impl ProgressHandle {
    /// The test under way, such as `test 3 of 21: 8,000 tokens at 50 %`.
    pub fn set_test(&self, test: impl Into<String>) {
        self.labels(|labels| labels.test = test.into());
    }

    /// The phase under way, such as `RAMP_c12` or `warm-up`.
    pub fn set_phase(&self, phase: impl Into<String>) {
        self.labels(|labels| labels.phase = phase.into());
    }

    /// The concurrency that is held.
    pub fn set_concurrency(&self, level: u32) {
        self.0.concurrency.store(level, Ordering::Relaxed);
    }

    /// Requests outstanding now.
    pub fn set_in_flight(&self, n: u32) {
        self.0.n_in_flight.store(n, Ordering::Relaxed);
    }

    /// How long the whole run will take, counted from its start; `None` while that is unknown.
    pub fn set_expected_total(&self, total: Option<Duration>) {
        let millis = total.map_or(0, |total| {
            u64::try_from(total.as_millis()).unwrap_or(u64::MAX).max(1)
        });
        self.0.expected_total.store(millis, Ordering::Relaxed);
    }

    /// A first token arrived after this time; its prompt was this long.
    pub fn first_token(&self, ttft: Duration, input_tokens: u64) {
        let micros = u64::try_from(ttft.as_micros()).unwrap_or(u64::MAX);
        self.0.ttft_micros.fetch_add(micros, Ordering::Relaxed);
        self.0.n_first_tokens.fetch_add(1, Ordering::Relaxed);
        self.0
            .input_tokens
            .fetch_add(input_tokens, Ordering::Relaxed);
    }

    /// Output tokens arrived.
    pub fn output_tokens(&self, n: u64) {
        self.0.output_tokens.fetch_add(n, Ordering::Relaxed);
    }

    /// A request ended well.
    pub fn finished(&self) {
        self.0.n_finished.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ended well, all told at once: for runs that report requests only when they end.
    pub fn ended(&self, ttft: Duration, input_tokens: u64, output_tokens: u64) {
        self.first_token(ttft, input_tokens);
        self.output_tokens(output_tokens);
        self.finished();
    }

    /// A request failed.
    pub fn failed(&self) {
        self.0.n_failed.fetch_add(1, Ordering::Relaxed);
    }

    fn labels(&self, change: impl FnOnce(&mut Labels)) {
        change(&mut self.0.labels.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = &self.0;
        Counters {
            n_first_tokens: read(&state.n_first_tokens),
            ttft_micros: read(&state.ttft_micros),
            input_tokens: read(&state.input_tokens),
            output_tokens: read(&state.output_tokens),
        }
    }

    fn view(&self, elapsed: Duration, recent: &Recent) -> View {
        let state = &self.0;
        let labels = state
            .labels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let expected = state.expected_total.load(Ordering::Relaxed);
        View {
            elapsed,
            expected: (expected > 0).then(|| Duration::from_millis(expected)),
            test: labels.test,
            phase: labels.phase,
            concurrency: state.concurrency.load(Ordering::Relaxed),
            n_in_flight: state.n_in_flight.load(Ordering::Relaxed),
            rates: recent.rates(),
            n_finished: state.n_finished.load(Ordering::Relaxed),
            n_failed: state.n_failed.load(Ordering::Relaxed),
        }
    }
}

/// The display; dropping it clears it.
#[derive(Debug)]
pub struct Progress {
    handle: ProgressHandle,
    drawer: Option<Drawer>,
}

#[derive(Debug)]
struct Drawer {
    console: Arc<Console>,
    display: MultiProgress,
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Starts the display on `console`, or nothing at all when `visible` is false: pass
    /// `!brief && console::stderr_is_capable()`.
    #[must_use]
    pub fn start(console: &Arc<Console>, visible: bool, color: bool) -> Self {
        if visible {
            Self::draw_to(console, ProgressDrawTarget::stderr_with_hz(5), color)
        } else {
            Self {
                handle: ProgressHandle::default(),
                drawer: None,
            }
        }
    }

    fn draw_to(console: &Arc<Console>, target: ProgressDrawTarget, color: bool) -> Self {
        let handle = ProgressHandle::default();
        let display = MultiProgress::with_draw_target(target);
        console.set_display(Some(display.clone()));
        let (stop, stopped) = mpsc::channel();
        let frames = Frames {
            handle: handle.clone(),
            display: display.clone(),
            color,
            started: Instant::now(),
        };
        let drawer = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || frames.run(&stopped))
            // A run without its display is still a run.
            .ok()
            .map(|thread| Drawer {
                console: Arc::clone(console),
                display,
                stop,
                thread,
            });
        if drawer.is_none() {
            console.set_display(None);
        }
        Self { handle, drawer }
    }

    /// A handle for the run.
    #[must_use]
    pub fn handle(&self) -> ProgressHandle {
        self.handle.clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(drawer) = self.drawer.take() {
            let _ = drawer.stop.send(());
            let _ = drawer.thread.join();
            let _ = drawer.display.clear();
            drawer.console.set_display(None);
        }
    }
}

/// The drawing thread.
struct Frames {
    handle: ProgressHandle,
    display: MultiProgress,
    color: bool,
    started: Instant,
}

impl Frames {
    fn run(self, stopped: &mpsc::Receiver<()>) {
        let upper = self.display.add(ProgressBar::new(BAR_STEPS));
        let lower = self.display.add(ProgressBar::new_spinner());
        let (known, unknown, plain) = styles(self.color);
        lower.set_style(plain);
        let mut recent = Recent::default();
        let mut is_known = None;
        loop {
            let elapsed = self.started.elapsed();
            recent.push(elapsed, self.handle.counters());
            let view = self.handle.view(elapsed, &recent);
            if is_known != Some(view.expected.is_some()) {
                is_known = Some(view.expected.is_some());
                upper.set_style(if view.expected.is_some() {
                    known.clone()
                } else {
                    unknown.clone()
                });
            }
            upper.set_position((view.fraction().unwrap_or(0.0) * BAR_STEPS as f64) as u64);
            upper.set_message(view.upper_line());
            lower.set_message(view.lower_line());
            if upper.is_finished()
                || !matches!(stopped.recv_timeout(FRAME), Err(RecvTimeoutError::Timeout))
            {
                break;
            }
        }
        upper.finish_and_clear();
        lower.finish_and_clear();
    }
}

/// Styles of the upper line with and without an expected end, and of the lower line.
fn styles(color: bool) -> (ProgressStyle, ProgressStyle, ProgressStyle) {
    let style = |template: &str| {
        ProgressStyle::with_template(template).expect("the templates are constants")
    };
    let known = if color {
        "[{bar:20.cyan}] {wide_msg}"
    } else {
        "[{bar:20}] {wide_msg}"
    };
    (
        style(known).progress_chars("=> "),
        style("{wide_msg}"),
        style("{wide_msg}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_display_has_no_thread_and_takes_all_news() {
        let console = Console::with_writer(Box::new(std::io::sink()));
        let progress = Progress::start(&console, false, false);
        assert!(progress.drawer.is_none());
        let handle = progress.handle();
        handle.set_test("t");
        handle.first_token(Duration::from_millis(300), 8000);
        handle.output_tokens(3);
        assert_eq!(handle.counters().ttft_micros, 300_000);
    }

    #[test]
    fn what_the_run_tells_is_what_the_display_shows() {
        let handle = ProgressHandle::default();
        handle.set_test("test 3 of 21: 8,000 tokens at 50 %");
        handle.set_phase("RAMP_c12");
        handle.set_concurrency(12);
        handle.set_in_flight(11);
        handle.set_expected_total(Some(Duration::from_secs(2700)));
        let mut recent = Recent::default();
        recent.push(Duration::ZERO, handle.counters());
        for _ in 0..4 {
            handle.ended(Duration::from_millis(500), 8000, 100);
        }
        handle.failed();
        recent.push(Duration::from_secs(2), handle.counters());
        let view = handle.view(Duration::from_secs(754), &recent);
        assert_eq!(
            view.upper_line(),
            "12:34 of about 45:00 | test 3 of 21: 8,000 tokens at 50 %"
        );
        assert_eq!(
            view.lower_line(),
            "RAMP_c12: 11 of 12 in flight | TTFT 0.500 s | in 16,000 tok/s | out 200 tok/s | 4 requests, 1 failed"
        );
    }

    #[test]
    fn the_drawing_thread_ends_with_the_display() {
        let console = Console::with_writer(Box::new(std::io::sink()));
        let progress = Progress::draw_to(&console, ProgressDrawTarget::hidden(), true);
        progress
            .handle()
            .set_expected_total(Some(Duration::from_secs(1)));
        console.write("a line while the display is on\n");
        // Dropping joins the thread: the test hangs if it does not end.
        drop(progress);
    }
}
