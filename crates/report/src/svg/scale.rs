//! Axes as arithmetic: which part is shown, where ticks stand, where a value lands between 0 and 1.

use crate::chart::{Axis, AxisRange, Ticks, fixed};

/// A resolved axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    /// Value at position 0.
    pub(crate) min: f64,
    /// Value at position 1.
    pub(crate) max: f64,
    /// Whether positions are proportional to the logarithm.
    pub(crate) log: bool,
    /// Tick values, ascending, all within the range.
    pub(crate) ticks: Vec<f64>,
    /// Values with places of their own, ascending; empty on an axis of numbers.
    pub(crate) categories: Vec<f64>,
}

impl Scale {
    /// Resolves `axis` for these data with about `target` ticks.
    pub(crate) fn new(axis: &Axis, data: impl Iterator<Item = f64>, target: usize) -> Self {
        if axis.range == AxisRange::Categories {
            return Self::of_categories(data);
        }
        let (mut low, mut high) = match axis.range {
            AxisRange::LogOver(low, high) => (low, high),
            _ => (f64::INFINITY, f64::NEG_INFINITY),
        };
        for value in data.filter(|v| v.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        match axis.range {
            AxisRange::Fixed(min, max) => Self {
                min,
                max,
                log: false,
                ticks: linear_ticks(axis.ticks, min, max, target),
                categories: Vec::new(),
            },
            AxisRange::Log | AxisRange::LogOver(..) if low > 0.0 && low <= high => {
                Self::log(low, high, target)
            }
            AxisRange::FromZeroTo(least) => Self::from_zero(axis.ticks, high.max(least), target),
            AxisRange::Log
            | AxisRange::LogOver(..)
            | AxisRange::FromZero
            | AxisRange::Categories => Self::from_zero(axis.ticks, high, target),
        }
    }

    fn from_zero(rule: Ticks, high: f64, target: usize) -> Self {
        let high = shown_high(high);
        let mut step = nice_step(high / count_of(target));
        if rule == Ticks::Whole {
            step = whole_step(step);
        }
        // A little air above the highest point, then up to the next half step.
        let max = ((high * 1.03 / (step / 2.0)).ceil() * (step / 2.0)).min(f64::MAX);
        Self {
            min: 0.0,
            max,
            log: false,
            ticks: multiples(step, 0.0, max),
            categories: Vec::new(),
        }
    }

    fn log(low: f64, high: f64, target: usize) -> Self {
        let (min, max) = (low / 1.25, (high * 1.25).min(f64::MAX));
        // The smallest numbers of all are too coarse for a quarter more or less.
        Self::log_between(min, if min < max { max } else { min * 10.0 }, target)
    }

    fn log_between(min: f64, max: f64, target: usize) -> Self {
        let (first, last) = (min.log10().floor(), max.log10().floor());
        let decades = max.log10() - min.log10();
        let room = count_of(target) * 1.5;
        let mantissas: &[f64] = if decades * 3.0 <= room {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        // Every power of ten, or every second, third, … where there are many.
        let step = (decades / (room + 4.0)).ceil().max(1.0);
        let mut ticks = Vec::new();
        // Counted by whole exponents: no power of ten ends the loop by being infinite or zero.
        for k in 0..=LARGEST_EXPONENT * 2 {
            let exponent = first + f64::from(k) * step;
            if exponent > last {
                break;
            }
            let decade = 10f64.powf(exponent);
            let ticks_of_decade = mantissas.iter().map(|m| m * decade);
            ticks.extend(ticks_of_decade.filter(|v| (min..=max).contains(v)));
        }
        Self {
            min,
            max,
            log: true,
            ticks,
            categories: Vec::new(),
        }
    }

    fn of_categories(data: impl Iterator<Item = f64>) -> Self {
        let mut categories: Vec<f64> = data.filter(|v| v.is_finite()).collect();
        categories.sort_by(f64::total_cmp);
        categories.dedup_by(|a, b| a.total_cmp(b).is_eq());
        Self {
            min: categories.first().copied().unwrap_or(0.0),
            max: categories.last().copied().unwrap_or(1.0),
            log: false,
            ticks: categories.clone(),
            categories,
        }
    }

    /// A scale from zero whose ticks fall on the same heights as `left`'s; whole numbers where the axis has
    /// no others.
    pub(crate) fn aligned_with(left: &Self, rule: Ticks, high: f64) -> Self {
        let intervals = left.ticks.len().saturating_sub(1).max(1);
        let high = shown_high(high);
        // Heights of the left ticks as shares of the axis decide how much fits under the last one.
        let top = left.ticks.last().map_or(1.0, |t| left.position(*t));
        let top = if top > 0.0 { top } else { 1.0 };
        let step = nice_step_at_least(high * 1.03 * top / count_of(intervals), rule);
        let last = (step * count_of(intervals)).min(f64::MAX);
        Self {
            min: 0.0,
            // At the end of all numbers there is no round step above the highest.
            max: (last / top).clamp(high, f64::MAX),
            log: false,
            ticks: multiples(step, 0.0, last),
            categories: Vec::new(),
        }
    }

    /// Two logarithmic scales of one panel, of which the left leaves a strip free at the top, and the right at the bottom:
    /// a multiple of a line's first value would lie on the line itself otherwise, point on point.
    pub(crate) fn apart(left: &Self, right: &Self, target: usize) -> (Self, Self) {
        const STRIP: f64 = 0.06;
        let strip = |scale: &Self| ((scale.max.ln() - scale.min.ln()) * STRIP).exp();
        let top = (left.max * strip(left)).min(f64::MAX);
        let bottom = (right.min / strip(right)).max(f64::MIN_POSITIVE.min(right.min));
        (
            Self::log_between(left.min, top, target),
            Self::log_between(bottom, right.max, target),
        )
    }

    /// Where a value stands: 0 at the start of the axis, 1 at its end.
    pub(crate) fn position(&self, value: f64) -> f64 {
        if !self.categories.is_empty() {
            let index = self.categories.partition_point(|c| *c < value);
            return (count_of_any(index) + 0.5) / count_of(self.categories.len());
        }
        if self.log {
            // Not of quotients, which may be beyond all numbers.
            (value.ln() - self.min.ln()) / (self.max.ln() - self.min.ln())
        } else {
            (value - self.min) / (self.max - self.min)
        }
    }

    /// Text of a tick: as many decimals as the smallest step needs.
    pub(crate) fn label(&self, tick: f64) -> String {
        if tick != 0.0 && !(LEAST_WRITTEN..MOST_WRITTEN).contains(&tick.abs()) {
            return powers(tick);
        }
        if self.log {
            // One digit tells 0.002 from 0.005; ticks are 1, 2 and 5 times a power of ten.
            let mut decimals = 0u8;
            let mut scaled = tick;
            while decimals < 9 && scaled < 0.999 {
                scaled *= 10.0;
                decimals += 1;
            }
            return fixed(tick, decimals);
        }
        if !self.categories.is_empty() {
            return fixed(tick, 0);
        }
        let step = self
            .ticks
            .windows(2)
            .map(|w| w[1] - w[0])
            .fold(f64::INFINITY, f64::min);
        let step = if step.is_finite() {
            step
        } else {
            self.max - self.min
        };
        let mut decimals = 0u8;
        let mut scaled = step;
        while decimals < 6 && (scaled - scaled.round()).abs() > scaled * 1e-6 {
            scaled *= 10.0;
            decimals += 1;
        }
        fixed(tick, decimals)
    }
}

/// Exponents of numbers go from minus to plus this, and a little below.
const LARGEST_EXPONENT: u32 = 324;

/// A highest value below this is as good as zero: its steps would be too small to be numbers.
const LEAST_SHOWN: f64 = 1e-290;

/// A round step above this would have no room for its multiples.
const LARGEST_STEP: f64 = 1e307;

/// Ticks from here on, and below [`LEAST_WRITTEN`], are written with an exponent, so that the words stay short.
const MOST_WRITTEN: f64 = 1e15;

/// See [`MOST_WRITTEN`].
const LEAST_WRITTEN: f64 = 1e-6;

/// The end of an axis from zero: where there is nothing to show, or only zeros, an empty unit range still makes a
/// readable panel.
fn shown_high(high: f64) -> f64 {
    if high > LEAST_SHOWN { high } else { 1.0 }
}

/// `2.5e20`: a tick has two digits at most, whatever its last bits say.
fn powers(tick: f64) -> String {
    let text = format!("{tick:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}e{exponent}")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "tick counts are below a hundred"
)]
fn count_of(n: usize) -> f64 {
    n.max(1) as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "category counts are below a thousand"
)]
fn count_of_any(n: usize) -> f64 {
    n as f64
}

/// The roundest step near `raw`: 1, 2, 2.5 or 5 times a power of ten.
fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let mantissa = raw / power;
    let nice = match mantissa {
        m if m < 1.4 => 1.0,
        m if m < 2.3 => 2.0,
        m if m < 3.5 => 2.5,
        m if m < 7.0 => 5.0,
        _ => 10.0,
    };
    nice * power
}

/// A round step without a fraction.
fn whole_step(step: f64) -> f64 {
    step.floor().max(1.0)
}

/// The smallest round step that is not below `raw`, a whole number if the rule asks for it.
fn nice_step_at_least(raw: f64, rule: Ticks) -> f64 {
    let whole = rule == Ticks::Whole;
    let raw = if whole { raw.max(1.0) } else { raw }.min(LARGEST_STEP);
    let power = 10f64.powf(raw.log10().floor());
    let mantissa = raw / power;
    let fits = |n: &f64| *n >= mantissa * (1.0 - 1e-9);
    let round = |n: &f64| !whole || (n * power).fract() == 0.0;
    let nice = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0]
        .into_iter()
        .find(|n| fits(n) && round(n));
    nice.unwrap_or(10.0) * power
}

fn linear_ticks(rule: Ticks, min: f64, max: f64, target: usize) -> Vec<f64> {
    match rule {
        Ticks::Every(step) => {
            let n = (max - min) / step;
            let thin = [1.0, 2.0, 5.0, 10.0]
                .into_iter()
                .find(|k| n / k <= count_of(target) + 0.5)
                .unwrap_or(20.0);
            multiples(step * thin, min, max)
        }
        Ticks::Auto => multiples(nice_step((max - min) / count_of(target)), min, max),
        Ticks::Whole => multiples(
            whole_step(nice_step((max - min) / count_of(target))),
            min,
            max,
        ),
    }
}

/// Multiples of `step` within `[min, max]`.
fn multiples(step: f64, min: f64, max: f64) -> Vec<f64> {
    let mut k = (min / step - 1e-9).ceil();
    let mut out = Vec::new();
    while k * step <= (max + step * 1e-9).min(f64::MAX) && out.len() < 200 {
        out.push(k * step);
        k += 1.0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Scale;
    use crate::chart::{Axis, AxisRange, NumberFormat, Ticks};
    use proptest::prelude::*;

    fn axis(range: AxisRange, ticks: Ticks) -> Axis {
        Axis {
            title: String::new(),
            range,
            ticks,
            format: NumberFormat::COUNT,
        }
    }

    #[test]
    fn ticks_are_round_and_labelled_with_just_enough_decimals() {
        for (high, expected) in [
            (0.37, vec!["0.0", "0.1", "0.2", "0.3", "0.4"]),
            (7.0, vec!["0", "2", "4", "6", "8"]),
            (4_266.0, vec!["0", "1,000", "2,000", "3,000", "4,000"]),
            (0.0, vec!["0.00", "0.25", "0.50", "0.75", "1.00"]),
        ] {
            let scale = Scale::new(
                &axis(AxisRange::FromZero, Ticks::Auto),
                [high].into_iter(),
                4,
            );
            let labels: Vec<_> = scale.ticks.iter().map(|t| scale.label(*t)).collect();
            assert_eq!(labels, expected, "{high}");
        }
        let rates = Scale::new(
            &axis(AxisRange::Fixed(-2.0, 102.0), Ticks::Every(10.0)),
            [].into_iter(),
            6,
        );
        assert_eq!(rates.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
    }

    #[test]
    fn categories_have_equally_wide_places_and_their_own_labels() {
        let axis = axis(AxisRange::Categories, Ticks::Auto);
        let scale = Scale::new(&axis, [8000.0, 1000.0, 8000.0, 128_000.0].into_iter(), 3);
        let labels: Vec<_> = scale.ticks.iter().map(|t| scale.label(*t)).collect();
        assert_eq!(labels, ["1,000", "8,000", "128,000"]);
        for (value, sixths) in [(1000.0, 1.0), (8000.0, 3.0), (128_000.0, 5.0)] {
            assert!((scale.position(value) - sixths / 6.0).abs() < 1e-12);
        }
    }

    /// Anything from zero to the largest number, the ends often.
    fn any_amount() -> impl Strategy<Value = f64> {
        prop_oneof![
            proptest::num::f64::POSITIVE | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
            proptest::sample::select(vec![0.0, 5e-324, f64::MIN_POSITIVE, 1.0, 1.7e308, f64::MAX]),
        ]
    }

    proptest! {
        /// Every value of the data lies on the axis, and so does every tick.
        #[test]
        fn a_scale_holds_its_data_and_its_ticks(
            data in proptest::collection::vec(1e-6f64..1e9, 1..20),
            target in 2usize..12,
            log: bool,
        ) {
            let range = if log { AxisRange::Log } else { AxisRange::FromZero };
            let scale = Scale::new(&axis(range, Ticks::Auto), data.iter().copied(), target);
            for value in data.iter().chain(&scale.ticks) {
                let p = scale.position(*value);
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&p), "{value} at {p} in {scale:?}");
            }
        }

        /// A cell of 1.7e308 made a scale without an end, one of 5e-324 a loop without one: whatever numbers a file holds,
        /// both axes end in numbers, hold their data, and have few ticks with short words.
        #[test]
        fn a_scale_of_any_numbers_is_made_of_numbers(
            data in proptest::collection::vec(any_amount(), 1..6),
            right in any_amount(),
            target in 2usize..12,
            log: bool,
        ) {
            let range = if log { AxisRange::Log } else { AxisRange::FromZero };
            let left = Scale::new(&axis(range, Ticks::Auto), data.iter().copied(), target);
            let beside = Scale::aligned_with(&left, Ticks::Auto, right);
            for (scale, data) in [(&left, &data[..]), (&beside, &[right])] {
                prop_assert!(scale.min < scale.max && scale.max.is_finite(), "{scale:?}");
                prop_assert!(scale.ticks.len() < 50, "{scale:?}");
                for value in data.iter().chain(&scale.ticks) {
                    let p = scale.position(*value);
                    prop_assert!((-1e-9..=1.0 + 1e-9).contains(&p), "{value} at {p} in {scale:?}");
                }
                for tick in &scale.ticks {
                    prop_assert!(scale.label(*tick).len() < 24, "{}", scale.label(*tick));
                }
            }
        }

        /// A right axis holds its data and has its ticks at the heights of the left axis's ticks.
        #[test]
        fn a_right_axis_shares_the_grid_of_the_left(left in 1e-3f64..1e6, right in 1e-3f64..1e6) {
            let a = Scale::new(&axis(AxisRange::FromZero, Ticks::Auto), [left].into_iter(), 5);
            let b = Scale::aligned_with(&a, Ticks::Auto, right);
            prop_assert!(b.position(right) <= 1.0);
            prop_assert_eq!(a.ticks.len(), b.ticks.len());
            for (l, r) in a.ticks.iter().zip(&b.ticks) {
                prop_assert!((a.position(*l) - b.position(*r)).abs() < 1e-6);
            }
        }

        /// Half a request cannot be in flight: an axis of whole numbers has no other ticks, also on the right.
        #[test]
        fn an_axis_of_whole_numbers_has_no_fractions(left in 1e-3f64..1e6, right in 1u32..5_000) {
            let high = f64::from(right);
            let a = Scale::new(&axis(AxisRange::FromZero, Ticks::Auto), [left].into_iter(), 5);
            let b = Scale::aligned_with(&a, Ticks::Whole, high);
            let c = Scale::new(&axis(AxisRange::FromZero, Ticks::Whole), [high].into_iter(), 5);
            prop_assert!(b.position(high) <= 1.0 && c.position(high) <= 1.0);
            for tick in b.ticks.iter().chain(&c.ticks) {
                prop_assert!((tick - tick.round()).abs() < 1e-9, "{tick}");
            }
        }
    }
}
