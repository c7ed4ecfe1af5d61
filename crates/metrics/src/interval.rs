//! Confidence intervals of ratios, for a handful of paired measurements.
//!
//! All intervals are at 95 %. Pairs are of one thing measured twice (a prompt cold and cached), so what they have in
//! common takes no part in the width. An interval of less than two pairs, or one that the data leave open at an end,
//! is `None`. Values that are not finite and positive are refused: their pair takes no part.

use std::f64::consts::{FRAC_2_PI, PI};

/// Probability beyond each end of an interval.
const TAIL: f64 = 0.025;
/// Halvings of a bracket: more than an f64 has bits.
const HALVINGS: u32 = 200;
/// Beyond so many degrees of freedom the quantile differs from that of this many by less than 10⁻⁴.
const MOST_DEGREES: u32 = 20_000;

/// An estimate with the interval around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The most plausible value.
    pub value: f64,
    /// Both ends at 95 %; `None` where the data do not bound it.
    pub interval: Option<(f64, f64)>,
    /// Pairs it rests on.
    pub n_pairs: usize,
}

/// mean(first) ÷ mean(second), with the interval of Fieller's theorem for paired data: all ratios θ for which a paired
/// t-test does not refute mean(first) = θ·mean(second). Exact for pairs that are jointly normal.
///
/// Source: E. C. Fieller, "Some problems in interval estimation", J. R. Statist. Soc. B 16 (1954) 175–185.
/// `None` without any pair. The interval is open, and so left out, where mean(second) cannot be told from zero.
#[must_use]
pub fn ratio_of_means(pairs: &[(f64, f64)]) -> Option<Estimate> {
    let pairs = usable(pairs);
    let n = pairs.len();
    if n == 0 {
        return None;
    }
    let count = n as f64;
    let a = pairs.iter().map(|p| p.0).sum::<f64>() / count;
    let b = pairs.iter().map(|p| p.1).sum::<f64>() / count;
    let interval = (n >= 2).then(|| {
        // Variances and covariance of the two means.
        let moment = |f: fn(f64, f64) -> f64| {
            pairs.iter().map(|p| f(p.0 - a, p.1 - b)).sum::<f64>() / (count - 1.0) / count
        };
        let (va, vb, vab) = (
            moment(|x, _| x * x),
            moment(|_, y| y * y),
            moment(|x, y| x * y),
        );
        let t2 = t_quantile(1.0 - TAIL, degrees(n)).powi(2);
        // The ratios not refuted satisfy (b² − t²vb)θ² − 2(ab − t²vab)θ + (a² − t²va) ≤ 0.
        let (square, half, constant) = (b * b - t2 * vb, a * b - t2 * vab, a * a - t2 * va);
        if square <= 0.0 {
            return None;
        }
        let root = (half * half - square * constant).max(0.0).sqrt();
        // A ratio of times is never negative.
        Some((((half - root) / square).max(0.0), (half + root) / square))
    });
    Some(Estimate {
        value: a / b,
        interval: interval.flatten(),
        n_pairs: n,
    })
}

/// Geometric mean of first ÷ second over pairs, with Student's interval for the mean of the logarithms: right for
/// ratios that vary in proportion, and over pairs of very different size.
///
/// Source: Student, "The probable error of a mean", Biometrika 6 (1908) 1–25. `None` without any pair.
#[must_use]
pub fn geometric_mean_ratio(pairs: &[(f64, f64)]) -> Option<Estimate> {
    let logs: Vec<f64> = usable(pairs).iter().map(|p| (p.0 / p.1).ln()).collect();
    let n = logs.len();
    if n == 0 {
        return None;
    }
    let mean = logs.iter().sum::<f64>() / n as f64;
    let interval = (n >= 2).then(|| {
        let sum = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        let error = (sum / (n - 1) as f64 / n as f64).sqrt();
        let reach = t_quantile(1.0 - TAIL, degrees(n)) * error;
        ((mean - reach).exp(), (mean + reach).exp())
    });
    Some(Estimate {
        value: mean.exp(),
        interval,
        n_pairs: n,
    })
}

fn usable(pairs: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let is_good = |v: f64| v.is_finite() && v > 0.0;
    let good = pairs.iter().filter(|p| is_good(p.0) && is_good(p.1));
    good.copied().collect()
}

fn degrees(n: usize) -> u32 {
    u32::try_from(n - 1).unwrap_or(MOST_DEGREES)
}

/// The value below which Student's t with `degrees` (at least 1) degrees of freedom lies with probability `p`
/// (0.5 to 1, both excluded; others are clamped).
#[must_use]
pub fn t_quantile(p: f64, degrees: u32) -> f64 {
    let degrees = degrees.clamp(1, MOST_DEGREES);
    let inside = 2.0 * p.clamp(0.5, 1.0 - 1e-12) - 1.0;
    let mut low = 0.0;
    let mut high = 1.0;
    while within(high, degrees) < inside && high < 1e13 {
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if within(middle, degrees) < inside {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Probability that |t| ≤ `t`, by the finite series for whole degrees of freedom: M. Abramowitz, I. A. Stegun,
/// "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
fn within(t: f64, degrees: u32) -> f64 {
    let nu = f64::from(degrees);
    let theta = (t / nu.sqrt()).atan();
    let (sin, cos) = theta.sin_cos();
    let square = cos * cos;
    let mut sum = 0.0;
    if degrees.is_multiple_of(2) {
        let mut term = 1.0;
        let mut k = 0;
        while k <= degrees - 2 {
            sum += term;
            k += 2;
            term *= square * f64::from(k - 1) / f64::from(k);
        }
        sin * sum
    } else {
        let mut term = cos;
        let mut k = 1;
        while k + 2 <= degrees {
            sum += term;
            k += 2;
            term *= square * f64::from(k - 1) / f64::from(k);
        }
        FRAC_2_PI * theta + 2.0 / PI * sin * sum
    }
}
