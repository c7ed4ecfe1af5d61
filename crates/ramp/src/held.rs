//! What a sustained test found out about capacity.

use std::collections::BTreeMap;

use crate::sustained::Decision;

/// The highest level at which the thresholds held in at least half of the periods that could be judged; `None` where
/// they held at none.
///
/// The controller climbs in leaps until a threshold breaks and then steps to and fro across the border, so the highest
/// level used lies beyond what the server can do, and a single period that held says little. `periods` are level and
/// decision of every period, in any order.
#[must_use]
pub fn highest_held(periods: impl IntoIterator<Item = (u32, Decision)>) -> Option<u32> {
    // Of each level, how many periods held and how many did not.
    let mut levels: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    for (level, decision) in periods {
        let (held, broken) = levels.entry(level).or_default();
        match decision {
            Decision::RampUp | Decision::MaxReached | Decision::PlateauRampDown => *held += 1,
            Decision::RampDown | Decision::MinReached => *broken += 1,
            Decision::Stay => {}
        }
    }
    let mut from_the_top = levels.into_iter().rev();
    from_the_top
        .find(|(_, (held, broken))| *held > 0 && held >= broken)
        .map(|(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaps_beyond_the_border_do_not_count() {
        use Decision::{RampDown, RampUp, Stay};
        let periods = [
            (2, RampUp),
            (22, RampDown),
            (20, RampDown),
            (18, Stay),
            (18, RampDown),
            (16, RampUp),
            (18, RampDown),
            (16, RampDown),
            (14, RampUp),
        ];
        // At 16 one period held and one did not.
        assert_eq!(highest_held(periods), Some(16));
    }

    #[test]
    fn lucky_periods_do_not_count() {
        use Decision::{MaxReached, MinReached, RampDown, RampUp};
        let once = [(4, RampUp), (6, RampUp), (6, RampDown), (6, RampDown)];
        assert_eq!(highest_held(once), Some(4));
        assert_eq!(highest_held([(2, MinReached), (2, MinReached)]), None);
        assert_eq!(highest_held([(2, RampUp), (8, MaxReached)]), Some(8));
        assert_eq!(highest_held([(2, Decision::Stay)]), None);
        assert_eq!(highest_held([]), None);
    }
}
