//! What the load loop itself knows of its part in a window: how much of the load it held, how late it launched.

use std::time::Duration;

use core_client::probe::Felt;
use metrics::health::{Histogram, Lag, PartOf, Typical, WindowHealth};

use crate::load::Phase;

/// Equal parts of a window over which requests in flight are averaged.
const PARTS: usize = 20;

/// Counts while a window or a period goes on.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    start: Duration,
    length: Duration,
    /// Up to here the areas are complete.
    seen: Duration,
    /// It goes on behind its planned length.
    is_extended: bool,
    in_flight: u32,
    /// In-flight seconds of each part.
    areas: Vec<f64>,
    delays: Histogram,
    /// Slot seconds that passed between the intended and the actual launch.
    missing: Duration,
}

/// The meter of a window that has ended.
#[derive(Debug, Default)]
pub(crate) struct Metered {
    length: f64,
    in_flight: Vec<f64>,
    send_delay_p99: Option<f64>,
    missing: f64,
}

impl Meter {
    /// Begins a window of `length` at `start`, with what is in flight already.
    pub(crate) fn begin(&mut self, start: Duration, length: Duration, in_flight: u32) {
        *self = Self {
            start,
            length,
            seen: start,
            in_flight,
            areas: vec![0.0; PARTS],
            ..Self::default()
        };
    }

    /// From `now` on so many requests are in flight.
    pub(crate) fn level(&mut self, now: Duration, in_flight: u32) {
        self.advance(now);
        self.in_flight = in_flight;
    }

    /// A request was launched at `now` that should have been launched at `intended`. What it waited before the window
    /// began was counted there.
    pub(crate) fn launched(&mut self, now: Duration, intended: Duration) {
        self.missing += now.saturating_sub(intended.max(self.start));
    }

    /// When the window began.
    pub(crate) fn start(&self) -> Duration {
        self.start
    }

    /// The window goes on behind its planned end: from here on its parts grow with it.
    pub(crate) fn extend(&mut self) {
        self.is_extended = true;
    }

    /// A request ended that was sent so long after its intended instant.
    pub(crate) fn sent(&mut self, delay: Duration) {
        self.delays.record(delay);
    }

    /// Ends the window at `end`; slots that wait for their launch have waited for `waiting` in all.
    pub(crate) fn finish(&mut self, end: Duration, waiting: Duration) -> Metered {
        self.advance(end);
        let length = end.saturating_sub(self.start).as_secs_f64();
        let part = self.part().as_secs_f64();
        // A window that ended early has fewer parts, the last of them shorter.
        let in_flight = (0..PARTS)
            .map_while(|i| {
                let width = (length - part * i as f64).min(part);
                (width > part * 1e-6)
                    .then(|| self.areas.get(i).copied().unwrap_or_default() / width)
            })
            .collect();
        Metered {
            length,
            in_flight,
            send_delay_p99: self.delays.quantile(0.99).map(|d| d.as_secs_f64()),
            missing: (self.missing + waiting).as_secs_f64(),
        }
    }

    fn part(&self) -> Duration {
        self.length / PARTS as u32
    }

    /// Makes the parts twice as long.
    fn widen(&mut self) {
        let wider = self.areas.chunks(2).map(|pair| pair.iter().sum());
        let mut areas: Vec<f64> = wider.collect();
        areas.resize(PARTS, 0.0);
        self.areas = areas;
        self.length *= 2;
    }

    fn advance(&mut self, now: Duration) {
        let mut part = self.part();
        while self.seen < now && !part.is_zero() {
            let at = ((self.seen - self.start).as_nanos() / part.as_nanos()) as usize;
            if at >= self.areas.len() && self.is_extended {
                self.widen();
                part = self.part();
                continue;
            }
            let Some(area) = self.areas.get_mut(at) else {
                // Behind the planned end nothing is counted.
                self.seen = now;
                return;
            };
            let border = self.start + part * (at as u32 + 1);
            let until = border.min(now);
            *area += f64::from(self.in_flight) * (until - self.seen).as_secs_f64();
            self.seen = until;
        }
    }
}

impl Metered {
    /// All that is known of the client in a window.
    pub(crate) fn health(
        self,
        phase: &Phase,
        (level, part_of): (u32, PartOf),
        felt: Option<&Felt>,
        (ttft, itl): (Typical, Typical),
    ) -> WindowHealth {
        let seconds = |d: Duration| d.as_secs_f64();
        let lag = felt.and_then(|felt| {
            Some(Lag {
                p50: seconds(felt.lag.quantile(0.5)?),
                p99: seconds(felt.lag.quantile(0.99)?),
                max: seconds(felt.lag.max()),
            })
        });
        let planned = f64::from(level) * self.length;
        let missing = self.missing + felt.map_or(0.0, |felt| seconds(felt.crossing));
        WindowHealth {
            phase_id: phase.prompts.phase_id.to_string(),
            context_size: phase.context_size,
            working_set_size: phase.working_set_size,
            cache_hit_rate: phase.cache_hit_rate,
            level,
            part_of,
            length: self.length,
            lag,
            send_delay_p99: self.send_delay_p99,
            cpu_share: felt
                .filter(|felt| !felt.wall.is_zero())
                .map(|felt| seconds(felt.cpu) / seconds(felt.wall)),
            in_flight: self.in_flight,
            missing_share: (planned > 0.0).then(|| missing / planned),
            ttft,
            itl,
            answer_tokens: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn requests_in_flight_are_averaged_over_each_part() {
        let mut meter = Meter::default();
        meter.begin(s(100), s(20), 4);
        meter.level(s(105), 8);
        meter.level(Duration::from_millis(110_500), 0);
        let metered = meter.finish(s(120), Duration::ZERO);
        let want: Vec<f64> = (0..20)
            .map(|i| match i {
                0..5 => 4.0,
                5..10 => 8.0,
                10 => 4.0,
                _ => 0.0,
            })
            .collect();
        assert_eq!(metered.in_flight, want);
        assert!((metered.length - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_window_cut_short_has_fewer_parts() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(20), 2);
        let metered = meter.finish(Duration::from_millis(2_500), Duration::ZERO);
        assert_eq!(metered.in_flight, [2.0, 2.0, 2.0]);
    }

    #[test]
    fn what_comes_behind_the_planned_end_is_not_counted() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(20), 1);
        meter.level(s(30), 0);
        assert_eq!(meter.finish(s(20), Duration::ZERO).in_flight, vec![1.0; 20]);
    }

    #[test]
    fn a_window_that_is_extended_has_wider_parts_over_all_of_it() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(20), 4);
        meter.level(s(20), 2);
        meter.extend();
        meter.level(s(50), 1);
        let metered = meter.finish(s(70), Duration::ZERO);
        // 20 s in parts of 1 s became 80 s in parts of 4 s, of which the last one is half full.
        let want: Vec<f64> = (0..18)
            .map(|i| match i {
                0..5 => 4.0,
                5..12 => 2.0,
                12 => 1.5,
                _ => 1.0,
            })
            .collect();
        assert_eq!(metered.in_flight, want);
        assert!((metered.length - 70.0).abs() < 1e-9);
    }

    #[test]
    fn a_wait_across_a_border_is_missing_once() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(10), 0);
        // A slot due at 8 s is launched at 13 s.
        let first = meter.finish(s(10), s(2));
        meter.begin(s(10), s(10), 0);
        meter.launched(s(13), s(8));
        let second = meter.finish(s(20), Duration::ZERO);
        assert!((first.missing - 2.0).abs() < 1e-9);
        assert!((second.missing - 3.0).abs() < 1e-9);
    }

    #[test]
    fn late_launches_and_slots_that_still_wait_are_missing_load() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(10), 0);
        meter.launched(s(3), s(1));
        meter.sent(s(2));
        let metered = meter.finish(s(10), s(1));
        assert!((metered.missing - 3.0).abs() < 1e-9);
        assert!(
            metered
                .send_delay_p99
                .is_some_and(|d| (d - 2.0).abs() < 1e-9)
        );
    }
}
