//! The search between a level that passed and one that failed, on the grid of increments.
//!
//! Promise: every level it names lies strictly between the two, so the range shrinks with every step.

/// Most steps of one search. A climb's own steps are ten increments at most and need four; the limit is for
/// ranges given from elsewhere.
pub const MAX_STEPS: u32 = 10;

/// A range whose lower end passed and whose upper end failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refinement {
    /// Highest level known good.
    pub good: u32,
    /// Lowest level known bad.
    pub bad: u32,
}

impl Refinement {
    /// The level to try next; `None` when the range is within one increment or cannot be cut on the grid.
    ///
    /// First the middle counted in whole increments from the good end; where that does not move, the middle
    /// rounded down to a multiple of the increment. With a good end that is no such multiple, rounding may
    /// leave the range: then the search is over.
    #[must_use]
    pub fn middle(self, increment: u32) -> Option<u32> {
        let Self { good, bad } = self;
        let width = bad.saturating_sub(good);
        if width <= increment || increment == 0 {
            return None;
        }
        let inside = |level: &u32| *level > good && *level < bad;
        // Half of the width in whole increments; u64, since doubling an increment may not fit.
        let half = u64::from(width) / (2 * u64::from(increment)) * u64::from(increment);
        let by_steps = u32::try_from(u64::from(good) + half).ok();
        let rounded = || (good + width / 2) / increment * increment;
        by_steps
            .filter(inside)
            .or_else(|| Some(rounded()).filter(inside))
    }

    /// The range after `level` was tried.
    #[must_use]
    pub fn narrowed(self, level: u32, passed: bool) -> Self {
        if passed {
            Self {
                good: level,
                ..self
            }
        } else {
            Self { bad: level, ..self }
        }
    }
}
