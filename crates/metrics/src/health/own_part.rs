//! The client's part in requests that no load loop holds: gathered request by request.

use std::time::Duration;

use super::{Histogram, Lag, Typical, WindowHealth};
use crate::percentile::Stats;
use crate::timeline::Timeline;

/// What the client knows of itself over some requests, and what they took.
#[derive(Debug, Clone, Default)]
pub struct OwnPart {
    lag: Histogram,
    cpu: Duration,
    wall: Duration,
    delays: Histogram,
    /// Request time that passed between intended and actual launch.
    late: Duration,
    /// Request time from the intended launch to the end.
    meant: Duration,
    ttft: Vec<f64>,
    itl: Vec<f64>,
    /// Of the answers that have an ITL.
    n_tokens: u64,
}

impl OwnPart {
    /// Adds what was felt while requests were under way: waits for the runtime, processor time, and time that passed.
    pub fn felt(&mut self, lag: &Histogram, cpu: Duration, wall: Duration) {
        self.lag.merge(lag);
        self.cpu += cpu;
        self.wall += wall;
    }

    /// Adds a request that has ended. Opening a connection because the server had closed one is no lateness of ours.
    pub fn sent(&mut self, timeline: &Timeline) {
        let delay = timeline.send_delay();
        self.delays.record(delay);
        self.late += delay;
        self.meant += timeline.finished.saturating_sub(timeline.intended);
    }

    /// Adds the times of an answer of so many tokens, seconds, as far as they are defined.
    pub fn answered(&mut self, ttft: Option<f64>, itl: Option<f64>, n_tokens: u64) {
        self.ttft.extend(ttft);
        self.itl.extend(itl);
        self.n_tokens += itl.map_or(0, |_| n_tokens);
    }

    /// All of it as one window; what the window is called and held is the caller's to say.
    #[must_use]
    pub fn health(&self) -> WindowHealth {
        let seconds = |d: Duration| d.as_secs_f64();
        let lag = |q| self.lag.quantile(q).map(seconds);
        let share = |part: Duration, whole: Duration| {
            (!whole.is_zero()).then(|| seconds(part) / seconds(whole))
        };
        WindowHealth {
            length: seconds(self.wall),
            lag: lag(0.5).zip(lag(0.99)).map(|(p50, p99)| Lag {
                p50,
                p99,
                max: seconds(self.lag.max()),
            }),
            send_delay_p99: self.delays.quantile(0.99).map(seconds),
            cpu_share: share(self.cpu, self.wall),
            missing_share: share(self.late, self.meant),
            ttft: Typical::from(&Stats::of(self.ttft.iter().copied())),
            itl: Typical::from(&Stats::of(self.itl.iter().copied())),
            answer_tokens: (!self.itl.is_empty())
                .then(|| self.n_tokens as f64 / self.itl.len() as f64),
            ..WindowHealth::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn request(intended: u64, launched: u64, dial: u64, finished: u64) -> Timeline {
        Timeline {
            intended: ms(intended),
            launched: ms(launched),
            dial: ms(dial),
            finished: ms(finished),
            ..Timeline::default()
        }
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        let health = OwnPart::default().health();
        assert_eq!(health, WindowHealth::default());
        assert_eq!(health.is_limited(), None);
    }

    #[test]
    fn late_launches_are_missing_load_and_connections_are_not() {
        let mut part = OwnPart::default();
        part.sent(&request(0, 10, 0, 100));
        part.sent(&request(100, 160, 60, 200));
        let health = part.health();
        assert!(
            health
                .missing_share
                .is_some_and(|share| (share - 0.05).abs() < 1e-9)
        );
        assert!(
            health
                .send_delay_p99
                .is_some_and(|delay| (delay - 0.010).abs() < 1e-9)
        );
    }

    #[test]
    fn what_was_felt_is_held_against_what_requests_took() {
        let mut part = OwnPart::default();
        let mut lag = Histogram::default();
        lag.record(ms(20));
        part.felt(&lag, ms(50), ms(100));
        part.answered(Some(0.3), None, 1);
        let health = part.health();
        assert_eq!((health.length, health.cpu_share), (0.1, Some(0.5)));
        assert_eq!(health.is_limited(), Some(true));
        part.answered(Some(0.9), Some(0.01), 301);
        part.answered(Some(0.9), None, 1);
        assert_eq!(part.health().answer_tokens, Some(301.0));
        assert_eq!(part.health().is_limited(), Some(false));
    }
}
