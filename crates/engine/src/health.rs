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
    /// Slot seconds that passed between the intended instant and the hand-over to a connection.
    missing: Duration,
    /// From then on nothing counts, but what becomes known of the time before still does.
    closed_at: Option<Duration>,
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

    /// A request was launched at `now` that should have been launched at `intended`. What it waited before the window
    /// began was counted there.
    pub(crate) fn launched(&mut self, now: Duration, intended: Duration) {
        self.advance(now);
        self.in_flight += 1;
        self.missing += now.saturating_sub(intended.max(self.start));
    }

    /// A request ended at `at`, which was noticed at `now`, and its slot is free from `due` on, if another request is to
    /// take its place. Until now it was thought to be in flight, also by the window before where it ended in that.
    pub(crate) fn ended(&mut self, at: Duration, now: Duration, due: Option<Duration>) {
        self.advance(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.add(at.max(self.start), self.seen, -1.0);
        self.missing += due.map_or(Duration::ZERO, |due| self.start.saturating_sub(due));
    }

    /// A request that was launched at `since` and has ended was handed over to a connection only at `until`: so long it was
    /// thought to be in flight and was not. What passed before the window began counts here, since nobody knew then.
    pub(crate) fn handed_over_late(&mut self, since: Duration, until: Duration) {
        let until = self.closed_at.map_or(until, |end| until.min(end));
        self.add(since.max(self.start), until.min(self.seen), -1.0);
        self.missing += until.saturating_sub(since);
    }

    /// Nothing is launched from `end` on. Requests that still run may yet tell of what was before.
    pub(crate) fn close(&mut self, end: Duration) {
        self.advance(end);
        self.closed_at = Some(end);
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
                    .then(|| self.areas.get(i).map_or(0.0, |area| area.max(0.0)) / width)
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
        let now = self.closed_at.map_or(now, |end| now.min(end));
        while self.is_extended
            && !self.part().is_zero()
            && now > self.start + self.part() * PARTS as u32
        {
            self.widen();
        }
        self.add(self.seen, now, f64::from(self.in_flight));
        self.seen = self.seen.max(now);
    }

    /// Adds so many requests in flight from `since` to `until`. Behind the planned end nothing is counted.
    fn add(&mut self, since: Duration, until: Duration, requests: f64) {
        let part = self.part();
        let mut at = since;
        while at < until && !part.is_zero() {
            let number = ((at - self.start).as_nanos() / part.as_nanos()) as usize;
            let Some(area) = self.areas.get_mut(number) else {
                return;
            };
            let next = until.min(self.start + part * (number as u32 + 1));
            *area += requests * (next - at).as_secs_f64();
            at = next;
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
            missing_share: (planned > 0.0).then(|| self.missing / planned),
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

    /// So many requests end at `at`, noticed at once and not replaced.
    fn end_all(meter: &mut Meter, n: u32, at: Duration) {
        (0..n).for_each(|_| meter.ended(at, at, None));
    }

    #[test]
    fn requests_in_flight_are_averaged_over_each_part() {
        let mut meter = Meter::default();
        meter.begin(s(100), s(20), 4);
        (0..4).for_each(|_| meter.launched(s(105), s(105)));
        end_all(&mut meter, 8, Duration::from_millis(110_500));
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
        end_all(&mut meter, 1, s(30));
        assert_eq!(meter.finish(s(20), Duration::ZERO).in_flight, vec![1.0; 20]);
    }

    #[test]
    fn a_window_that_is_extended_has_wider_parts_over_all_of_it() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(20), 4);
        end_all(&mut meter, 2, s(20));
        meter.extend();
        end_all(&mut meter, 1, s(50));
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
    fn a_request_is_in_flight_until_it_ended_and_not_until_that_was_noticed() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(20), 2);
        // Meanwhile something else happens, so that its time in flight was counted already.
        meter.launched(s(9), s(9));
        meter.ended(s(5), s(10), Some(s(5)));
        meter.launched(s(12), s(5));
        let metered = meter.finish(s(20), Duration::ZERO);
        let want: Vec<f64> = (0..20)
            .map(|i| match i {
                0..5 => 2.0,
                5..9 => 1.0,
                9..12 => 2.0,
                _ => 3.0,
            })
            .collect();
        assert_eq!(metered.in_flight, want);
        assert!((metered.missing - 7.0).abs() < 1e-9);
    }

    #[test]
    fn an_end_noticed_behind_a_border_is_missing_load_once_and_from_the_end_on() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(10), 1);
        let first = meter.finish(s(10), Duration::ZERO);
        meter.begin(s(10), s(10), 1);
        meter.ended(s(7), s(12), Some(s(7)));
        meter.launched(s(13), s(7));
        let second = meter.finish(s(20), Duration::ZERO);
        // Nobody knew at the border.
        assert!(first.missing < 1e-9);
        assert!((second.missing - 6.0).abs() < 1e-9);
        assert!(second.in_flight[..6].iter().all(|n| *n < 1e-9));
        assert!(second.in_flight[6..].iter().all(|n| (n - 1.0).abs() < 1e-9));
    }

    #[test]
    fn a_request_is_in_flight_from_its_hand_over_on() {
        let mut meter = Meter::default();
        meter.begin(s(0), s(20), 0);
        meter.launched(s(2), s(1));
        meter.ended(s(10), s(10), Some(s(10)));
        meter.handed_over_late(s(2), s(5));
        // Of two that run at the end, one is known to have waited only behind it, and one beyond it.
        (0..2).for_each(|_| meter.launched(s(10), s(10)));
        meter.close(s(20));
        meter.ended(s(30), s(30), Some(s(30)));
        meter.handed_over_late(s(10), s(12));
        meter.ended(s(31), s(31), Some(s(31)));
        meter.handed_over_late(s(10), s(25));
        let metered = meter.finish(s(20), Duration::ZERO);
        let want: Vec<f64> = (0..20)
            .map(|i| match i {
                5..10 | 12..20 => 1.0,
                _ => 0.0,
            })
            .collect();
        assert_eq!(metered.in_flight, want);
        assert!((metered.missing - (1.0 + 3.0 + 2.0 + 10.0)).abs() < 1e-9);
    }

    #[test]
    fn what_a_request_waited_before_the_window_is_missing_in_it() {
        let mut meter = Meter::default();
        meter.begin(s(10), s(10), 1);
        meter.ended(s(15), s(15), Some(s(15)));
        meter.handed_over_late(s(8), s(11));
        let metered = meter.finish(s(20), s(5));
        assert!((metered.missing - (3.0 + 5.0)).abs() < 1e-9);
        assert!(metered.in_flight[..2].iter().all(|n| *n < 1e-9));
        assert!((metered.in_flight[2] - 1.0).abs() < 1e-9);
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
