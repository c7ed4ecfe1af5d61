//! Intervals of ratios: against published tables, against their definition, and by how often they are right.

use metrics::interval::{geometric_mean_ratio, ratio_of_means, t_quantile};
use proptest::prelude::*;

/// Student's t at 97.5 %, as every textbook prints it (for example Abramowitz & Stegun, table 26.10).
#[test]
fn quantiles_are_those_of_the_tables() {
    for (degrees, value) in [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (5, 2.571),
        (6, 2.447),
        (9, 2.262),
        (10, 2.228),
        (19, 2.093),
        (29, 2.045),
        (30, 2.042),
        (60, 2.000),
        (120, 1.980),
        (u32::MAX, 1.960),
    ] {
        let found = t_quantile(0.975, degrees);
        assert!((found - value).abs() < 6e-4, "{degrees}: {found}");
    }
    for (p, degrees, value) in [
        (0.95, 4, 2.132),
        (0.995, 1, 63.657),
        (0.995, 7, 3.499),
        (0.9, 12, 1.356),
    ] {
        let found = t_quantile(p, degrees);
        assert!((found - value).abs() < 6e-4, "{p}, {degrees}: {found}");
    }
}

#[test]
fn undefined_is_none() {
    assert_eq!(ratio_of_means(&[]), None);
    assert_eq!(geometric_mean_ratio(&[]), None);
    let one = ratio_of_means(&[(3.0, 1.5)]).unwrap();
    assert_eq!((one.value, one.interval, one.n_pairs), (2.0, None, 1));
    assert_eq!(geometric_mean_ratio(&[(3.0, 1.5)]).unwrap().interval, None);
    // A divisor that may well be zero bounds nothing.
    let open = ratio_of_means(&[(1.0, 0.001), (1.2, 5.0)]).unwrap();
    assert_eq!(open.interval, None);
    // What cannot be measured takes no part.
    let bad = [
        (f64::NAN, 1.0),
        (1.0, 0.0),
        (f64::INFINITY, 1.0),
        (-1.0, 1.0),
        (4.0, 2.0),
    ];
    assert_eq!(ratio_of_means(&bad).unwrap().n_pairs, 1);
    assert_eq!(geometric_mean_ratio(&bad).unwrap().value, 2.0);
}

#[test]
fn pairs_in_exact_proportion_leave_no_doubt() {
    let pairs = [(2.0, 1.0), (2.2, 1.1), (2.4, 1.2)];
    for estimate in [
        ratio_of_means(&pairs).unwrap(),
        geometric_mean_ratio(&pairs).unwrap(),
    ] {
        let (low, high) = estimate.interval.unwrap();
        assert!((estimate.value - 2.0).abs() < 1e-12);
        assert!(
            (low - 2.0).abs() < 1e-6 && (high - 2.0).abs() < 1e-6,
            "{low} {high}"
        );
    }
}

/// |t| of the paired test of mean(first) = θ·mean(second).
fn t_of(pairs: &[(f64, f64)], theta: f64) -> f64 {
    let n = pairs.len() as f64;
    let d: Vec<f64> = pairs.iter().map(|p| p.0 - theta * p.1).collect();
    let mean = d.iter().sum::<f64>() / n;
    let variance = d.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    mean.abs() / (variance / n).sqrt()
}

fn some_pairs() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((0.5_f64..5.0, 0.8_f64..1.2), 3..12)
}

proptest! {
    /// The ends of the interval are the ratios that a paired t-test just does not refute, and the estimate lies
    /// between them.
    #[test]
    fn ends_are_where_the_paired_test_turns(pairs in some_pairs()) {
        let estimate = ratio_of_means(&pairs).unwrap();
        let critical = t_quantile(0.975, pairs.len() as u32 - 1);
        if let Some((low, high)) = estimate.interval {
            prop_assert!(low <= estimate.value && estimate.value <= high);
            prop_assert!((t_of(&pairs, high) - critical).abs() < 1e-6 * critical);
            if low > 0.0 {
                prop_assert!((t_of(&pairs, low) - critical).abs() < 1e-6 * critical);
            }
        }
    }

    /// Another unit of time changes no ratio and no interval; swapping the two inverts the geometric one.
    #[test]
    fn units_do_not_matter(pairs in some_pairs(), unit in 0.001_f64..1000.0) {
        let scaled: Vec<_> = pairs.iter().map(|p| (p.0 * unit, p.1 * unit)).collect();
        let swapped: Vec<_> = pairs.iter().map(|p| (p.1, p.0)).collect();
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
        for f in [ratio_of_means, geometric_mean_ratio] {
            let (a, b) = (f(&pairs).unwrap(), f(&scaled).unwrap());
            prop_assert!(close(a.value, b.value));
            prop_assert_eq!(a.interval.is_some(), b.interval.is_some());
        }
        let (a, b) = (geometric_mean_ratio(&pairs).unwrap(), geometric_mean_ratio(&swapped).unwrap());
        let ((low, high), (low_b, high_b)) = (a.interval.unwrap(), b.interval.unwrap());
        prop_assert!(close(low, 1.0 / high_b) && close(high, 1.0 / low_b) && close(a.value, 1.0 / b.value));
    }
}

/// A generator for the simulation below, from its paper (Steele, Lea, Flood 2014), so that it never changes.
struct SplitMix(u64);

impl SplitMix {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Over many experiments with a known ratio of 5, the interval holds it in 95 % of them, with correlated pairs too.
#[test]
fn intervals_are_right_as_often_as_they_say() {
    const EXPERIMENTS: u32 = 4000;
    let mut random = SplitMix(1);
    for n in [3, 5, 20] {
        let (mut fieller, mut geometric) = (0, 0);
        for _ in 0..EXPERIMENTS {
            let (mut additive, mut in_proportion) = (Vec::new(), Vec::new());
            for _ in 0..n {
                let shared = 0.1 * random.normal();
                let (x, y) = (
                    0.08 * random.normal() + shared,
                    0.08 * random.normal() + shared,
                );
                additive.push((5.0 * (1.0 + x), 1.0 + y));
                in_proportion.push((5.0 * (3.0 * x).exp(), (3.0 * y).exp()));
            }
            let holds = |interval: Option<(f64, f64)>| {
                interval.is_some_and(|(low, high)| low <= 5.0 && 5.0 <= high)
            };
            fieller += u32::from(holds(ratio_of_means(&additive).unwrap().interval));
            geometric += u32::from(holds(
                geometric_mean_ratio(&in_proportion).unwrap().interval,
            ));
        }
        // Four standard errors of a share of 95 % in 4,000 experiments are 1.4 points.
        for share in [fieller, geometric].map(|hits| f64::from(hits) / f64::from(EXPERIMENTS)) {
            assert!((share - 0.95).abs() < 0.014, "{n}: {share}");
        }
    }
}
