//! Percentiles against known tables and by their invariants.

use metrics::percentile::{Stats, mean, percentile, population_std, sorted};
use proptest::prelude::*;

use crate::support::{assert_close, is_close};

#[test]
fn percentiles_interpolate_linearly_between_closest_ranks() {
    // Values of numpy.percentile, default method.
    let table: [(&[f64], f64, f64); 10] = [
        (&[1.0, 2.0, 3.0, 4.0], 0.50, 2.5),
        (&[1.0, 2.0, 3.0, 4.0], 0.95, 3.85),
        (&[1.0, 2.0, 3.0, 4.0], 0.99, 3.97),
        (&[1.0, 2.0, 3.0, 4.0], 0.05, 1.15),
        (&[10.0, 20.0], 0.10, 11.0),
        (&[10.0, 20.0], 0.0, 10.0),
        (&[10.0, 20.0], 1.0, 20.0),
        (&[7.0], 0.95, 7.0),
        (&[0.0, 0.0, 0.0, 100.0, 100.0], 0.5, 0.0),
        (
            &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
            0.95,
            9.5,
        ),
    ];
    for (sample, q, expected) in table {
        assert_close(
            percentile(sample, q).unwrap(),
            expected,
            1e-12,
            &format!("{q} of {sample:?}"),
        );
    }
}

#[test]
fn nothing_has_no_statistics() {
    assert_eq!(percentile(&[], 0.5), None);
    assert_eq!(mean(&[]), None);
    assert_eq!(population_std(&[]), None);
    assert_eq!(Stats::of([]), Stats::default());
    assert_eq!(Stats::of([f64::NAN, f64::INFINITY]), Stats::default());
}

#[test]
fn standard_deviation_divides_by_n() {
    assert_close(
        population_std(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap(),
        2.0,
        1e-12,
        "std",
    );
    assert_eq!(population_std(&[3.0]), Some(0.0));
}

proptest! {
    // A percentile never falls when q grows and never leaves the sample.
    #[test]
    fn percentiles_are_monotone_and_stay_inside_the_sample(
        values in prop::collection::vec(-1e6..1e6, 1..40),
        a in 0.0..=1.0,
        b in 0.0..=1.0,
    ) {
        let sample = sorted(values);
        let (low, high) = (f64::min(a, b), f64::max(a, b));
        let (below, above) = (percentile(&sample, low).unwrap(), percentile(&sample, high).unwrap());
        prop_assert!(below <= above);
        prop_assert!(sample[0] <= below && above <= sample[sample.len() - 1]);
    }

    // Statistics depend on the values and not on their order.
    #[test]
    fn order_of_the_sample_does_not_matter(values in prop::collection::vec(0.0..1e3, 1..40)) {
        let mut reversed = values.clone();
        reversed.reverse();
        let (a, b) = (Stats::of(values), Stats::of(reversed));
        prop_assert_eq!((a.median, a.p95, a.p99, a.min, a.max, a.n), (b.median, b.p95, b.p99, b.min, b.max, b.n));
        prop_assert!(is_close(a.avg.unwrap(), b.avg.unwrap(), 1e-12));
    }

    // Scaling a sample scales every statistic.
    #[test]
    fn statistics_scale_with_the_unit(values in prop::collection::vec(0.001..1e3, 1..40)) {
        let seconds = Stats::of(values.iter().copied());
        let milliseconds = Stats::of(values.iter().map(|v| v * 1e3));
        for (s, ms) in [(seconds.avg, milliseconds.avg), (seconds.p95, milliseconds.p95), (seconds.max, milliseconds.max)] {
            prop_assert!(is_close(s.unwrap() * 1e3, ms.unwrap(), 1e-9));
        }
    }
}
