//! Lines of the warm-up.

use std::time::Duration;

use cli::logging::{Line, Style};
use cli::number::{fixed, thousands};

/// Share of failed warm-up requests beyond which the working set cannot be called warm.
const TOLERATED_FAILURES: f64 = 0.05;

/// A warm-up begins.
#[must_use]
pub fn warm_up_start(n_prompts: u64, concurrency: u32) -> Line {
    Line::plain(format!(
        "Initializing working set: sending {n_prompts} prompts to API (max concurrency: {concurrency})..."
    ))
}

/// A warm-up goes on.
#[must_use]
pub fn warm_up_progress(n_done: u64, n_prompts: u64, elapsed: Duration) -> Line {
    let rate = per_second(n_done, elapsed);
    let left = n_prompts.saturating_sub(n_done) as f64;
    let eta = rate.filter(|rate| *rate > 0.0).map(|rate| left / rate);
    Line::plain(format!(
        "  Initialized {n_done}/{n_prompts} prompts ({} prompts/s, ETA: {})",
        fixed(rate, 1, ""),
        fixed(eta, 0, "s")
    ))
}

/// A warm-up is over; a second line warns where too much of it failed.
#[must_use]
pub fn warm_up_end(n_prompts: u64, n_failed: u64, elapsed: Duration) -> Vec<Line> {
    let n_good = n_prompts.saturating_sub(n_failed);
    let mut text = format!(
        "Working set initialization complete: {n_good} prompts in {:.1}s ({} prompts/s)",
        elapsed.as_secs_f64(),
        fixed(per_second(n_good, elapsed), 1, "")
    );
    if n_failed > 0 {
        text += &format!(", {n_failed} failed");
    }
    let mut lines = vec![Line::styled(Style::Success, text)];
    if n_failed as f64 > TOLERATED_FAILURES * n_prompts as f64 {
        lines.push(Line::warning(format!(
            "{} of {} warm-up requests failed; what they should have cached is cold, and hit rates will be lower than asked for",
            thousands(n_failed),
            thousands(n_prompts)
        )));
    }
    lines
}

fn per_second(n: u64, elapsed: Duration) -> Option<f64> {
    let secs = elapsed.as_secs_f64();
    (secs > 0.0).then(|| n as f64 / secs)
}
