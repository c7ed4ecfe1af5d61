//! The choice of the peak among tested levels.

use crate::judge::{Observation, Thresholds};
use crate::outcome::{Peak, TestedLevel};

/// The level the result describes; `None` when no tested level yielded a result.
///
/// Of the levels that pass, the one with the highest input rate. If none passes, the one that misses by
/// least: by TTFT alone, by speed alone, or by the sum of ttft ÷ max and (min − speed) ÷ min when both
/// thresholds are active. On a tie the one tested first. Levels without a result are never chosen, and a
/// level without a sample for an active threshold only if all others lack it too.
#[must_use]
pub fn choose_peak(thresholds: &Thresholds, tested: &[TestedLevel]) -> Option<Peak> {
    let passing = tested.iter().filter(|t| t.verdict.passed);
    let best_passing = first_smallest(passing, |t| -t.observation.input_tps);
    let failing = tested.iter().filter(|t| t.observation.valid);
    let chosen = best_passing
        .or_else(|| first_smallest(failing, |t| distance(thresholds, &t.observation)))?;
    Some(Peak {
        concurrency: chosen.concurrency,
        passed: chosen.verdict.passed,
        phase_id: chosen.phase_id.clone(),
        observation: chosen.observation,
    })
}

/// The first element with the smallest key; a key that is no number counts as largest.
fn first_smallest<'a>(
    levels: impl Iterator<Item = &'a TestedLevel>,
    key: impl Fn(&TestedLevel) -> f64,
) -> Option<&'a TestedLevel> {
    let key = |t: &TestedLevel| {
        let value = key(t);
        if value.is_nan() { f64::INFINITY } else { value }
    };
    levels.reduce(|best, other| if key(other) < key(best) { other } else { best })
}

/// How far a level is from passing; only the order matters.
fn distance(thresholds: &Thresholds, observation: &Observation) -> f64 {
    let ttft = observation.ttft.unwrap_or(f64::INFINITY);
    let speed = observation.speed.unwrap_or(f64::NEG_INFINITY);
    match (thresholds.max_ttft, thresholds.min_speed) {
        (Some(max), Some(min)) => ttft / max + (min - speed) / min,
        (Some(_), None) => ttft,
        (None, Some(_)) => -speed,
        // Without a threshold every valid level passes.
        (None, None) => 0.0,
    }
}
