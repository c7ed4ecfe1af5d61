//! The choice of the peak among tested levels.

use crate::judge::{Observation, Thresholds};
use crate::outcome::{Peak, TestedLevel};

/// By what levels are compared when both thresholds are active and no level holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closest {
    /// The sum of ttft ÷ max and (min − speed) ÷ min.
    SumOfMisses,
    /// The larger of ttft ÷ max and min ÷ speed.
    LargestMiss,
}

/// Levels told of when one of them was chosen, and when none passed.
const TOLD: (usize, usize) = (3, 5);

/// The level the result describes; `None` when no tested level yielded a result.
///
/// Of the levels that pass, the one with the highest input rate. If none passes, the one that misses by least: by TTFT
/// alone, by speed alone, or, when both thresholds are active, as `closest` says. On a tie the one tested first. Levels
/// without a result are never chosen, and a level without a sample for an active threshold only if all others lack it
/// too.
#[must_use]
pub fn choose_peak(
    thresholds: &Thresholds,
    closest: Closest,
    tested: &[TestedLevel],
) -> Option<Peak> {
    let chosen = ranking(thresholds, closest, tested).into_iter().next()?;
    Some(Peak {
        concurrency: chosen.concurrency,
        passed: chosen.verdict.passed,
        phase_id: chosen.phase_id.clone(),
        observation: chosen.observation,
    })
}

/// The best of the levels among which the peak is chosen, best first: three that pass, or five where none does.
#[must_use]
pub fn best_levels(
    thresholds: &Thresholds,
    closest: Closest,
    tested: &[TestedLevel],
) -> Vec<TestedLevel> {
    let ranking = ranking(thresholds, closest, tested);
    let n = if ranking.iter().any(|level| level.verdict.passed) {
        TOLD.0
    } else {
        TOLD.1
    };
    ranking.into_iter().take(n).cloned().collect()
}

/// The levels among which the peak is chosen, best first: those that pass, or where none does, all with a result.
fn ranking<'a>(
    thresholds: &Thresholds,
    closest: Closest,
    tested: &'a [TestedLevel],
) -> Vec<&'a TestedLevel> {
    let mut passing: Vec<&TestedLevel> = tested.iter().filter(|t| t.verdict.passed).collect();
    if !passing.is_empty() {
        sort_by_key(&mut passing, |t| -t.observation.input_tps);
        return passing;
    }
    let mut failing: Vec<&TestedLevel> = tested.iter().filter(|t| t.observation.valid).collect();
    sort_by_key(&mut failing, |t| {
        distance(thresholds, closest, &t.observation)
    });
    failing
}

/// Sorts from the smallest key to the largest; what ties keeps its order, and a key that is no number counts as
/// largest.
fn sort_by_key(levels: &mut [&TestedLevel], key: impl Fn(&TestedLevel) -> f64) {
    let key = |t: &TestedLevel| {
        let value = key(t);
        if value.is_nan() { f64::INFINITY } else { value }
    };
    levels.sort_by(|a, b| key(a).total_cmp(&key(b)));
}

/// How far a level is from passing; only the order matters.
fn distance(thresholds: &Thresholds, closest: Closest, observation: &Observation) -> f64 {
    let ttft = observation.ttft.unwrap_or(f64::INFINITY);
    let speed = observation.speed.unwrap_or(f64::NEG_INFINITY);
    match (thresholds.max_ttft, thresholds.min_speed) {
        (Some(max), Some(min)) => match closest {
            Closest::SumOfMisses => ttft / max + (min - speed) / min,
            // A speed below 1 token/s is as bad as that.
            Closest::LargestMiss => (ttft / max).max(min / speed.max(1.0)),
        },
        (Some(_), None) => ttft,
        (None, Some(_)) => -speed,
        // Without a threshold every valid level passes.
        (None, None) => 0.0,
    }
}
