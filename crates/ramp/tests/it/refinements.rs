//! The middle of a range on the grid of increments.

use proptest::prelude::*;
use ramp::refine::Refinement;

#[test]
fn the_middle_lies_on_the_grid_and_inside() {
    // (good, bad, increment, middle)
    let table = [
        (2, 12, 2, Some(6)),
        (2, 6, 2, Some(4)),
        (4, 6, 2, None),
        (4, 8, 2, Some(6)),
        (1, 6, 1, Some(3)),
        (1, 3, 1, Some(2)),
        (1, 2, 1, None),
        (11, 12, 1, None),
        (2, 102, 10, Some(52)),
        // Less than two increments apart: the middle is rounded down to a multiple.
        (2, 5, 2, None),
        (3, 6, 2, Some(4)),
        (1, 4, 2, Some(2)),
        // From 5 on a grid of 10: 14 and 15 are rounded to 10, inside; 5 to 18 also.
        (5, 25, 10, Some(15)),
        (5, 24, 10, Some(10)),
        (11, 22, 10, None),
        (8, 19, 10, Some(10)),
        // Rounding (7 + 15) / 2 = 11 down to a multiple of 8 would give 8; of 6, 6: outside.
        (7, 15, 7, None),
        (7, 14, 6, None),
        (1, 1, 1, None),
        (9, 3, 1, None),
        (1, u32::MAX, 1, Some(1 << 31)),
        (1, u32::MAX, u32::MAX - 3, None),
    ];
    for (good, bad, increment, middle) in table {
        assert_eq!(
            Refinement { good, bad }.middle(increment),
            middle,
            "{good}..{bad} by {increment}"
        );
    }
}

proptest! {
    // A middle lies strictly inside, so the range shrinks with every step; and there is none only when the
    // range is within one increment or no grid level lies where the search looks.
    #[test]
    fn the_range_always_shrinks(good in 1_u32..5000, width in 0_u32..5000, increment in 1_u32..200, pass in any::<bool>()) {
        let range = Refinement { good, bad: good + width };
        match range.middle(increment) {
            Some(level) => {
                prop_assert!(range.good < level && level < range.bad);
                prop_assert!(width > increment);
                let next = range.narrowed(level, pass);
                prop_assert!(next.bad - next.good < width);
            }
            None => prop_assert!(width < 2 * increment),
        }
    }

    // From a good end on the grid the search ends within one increment of the truth.
    #[test]
    fn a_good_end_on_the_grid_is_narrowed_to_one_increment(
        steps in 1_u32..300,
        start in 1_u32..50,
        increment in 1_u32..20,
        truth in 0.0..1.0_f64,
    ) {
        let start = start * increment;
        let bad = start + steps * increment;
        let limit = start + (f64::from(bad - start) * truth) as u32;
        let mut range = Refinement { good: start, bad };
        while let Some(level) = range.middle(increment) {
            range = range.narrowed(level, level <= limit);
        }
        prop_assert!(range.bad - range.good <= increment);
        prop_assert!(range.good <= limit && limit < range.bad);
    }
}
