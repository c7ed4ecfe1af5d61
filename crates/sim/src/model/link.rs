//! The link from a memory tier: one bandwidth, shared equally by the loads that run at once.
//!
//! Promises: exact processor sharing. A load first waits out the tier's latency, without using bandwidth,
//! then gets its share until its bytes are through. Bytes are conserved: n equal loads that start together
//! take n times as long as one.

use std::time::Duration;

use super::engine::RequestId;

/// What flows within this time is not worth another event; it covers the rounding of times to nanoseconds.
const RESOLUTION_S: f64 = 1e-9;

#[derive(Debug)]
struct Job {
    id: RequestId,
    /// When the latency is over and bytes begin to flow.
    flows_at: Duration,
    remaining_bytes: f64,
}

/// One tier's link.
#[derive(Debug)]
pub(crate) struct Link {
    bytes_per_s: f64,
    latency: Duration,
    now: Duration,
    jobs: Vec<Job>,
}

impl Link {
    /// `bytes_per_s` is positive (checked by the configuration).
    pub(crate) fn new(bytes_per_s: f64, latency: Duration) -> Self {
        Self {
            bytes_per_s,
            latency,
            now: Duration::ZERO,
            jobs: Vec::new(),
        }
    }

    /// Begins a load of `bytes` for `id` at `now`, to which the link has been advanced.
    pub(crate) fn begin(&mut self, now: Duration, id: RequestId, bytes: f64) {
        self.flow_until(now);
        self.jobs.push(Job {
            id,
            flows_at: now + self.latency,
            remaining_bytes: bytes,
        });
    }

    /// Forgets the load of `id`, if there is one.
    pub(crate) fn cancel(&mut self, now: Duration, id: RequestId) {
        self.flow_until(now);
        self.jobs.retain(|job| job.id != id);
    }

    /// When something changes next: a load starts to flow or ends.
    pub(crate) fn next_event_at(&self) -> Option<Duration> {
        let flowing = self.flowing();
        self.jobs
            .iter()
            .map(|job| {
                if job.flows_at > self.now {
                    job.flows_at
                } else {
                    let seconds = job.remaining_bytes.max(0.0) * flowing as f64 / self.bytes_per_s;
                    // Rounded up, so that at that time the bytes really are through.
                    self.now + Duration::from_nanos((seconds * 1e9).ceil() as u64)
                }
            })
            .min()
    }

    /// Lets bytes flow until `now`, which is not after [`Self::next_event_at`], and returns the loads that
    /// ended, in the order in which they began.
    pub(crate) fn advance(&mut self, now: Duration) -> Vec<RequestId> {
        self.flow_until(now);
        let mut done = Vec::new();
        let little = self.bytes_per_s * RESOLUTION_S;
        self.jobs.retain(|job| {
            let ended = job.flows_at <= now && job.remaining_bytes <= little;
            if ended {
                done.push(job.id);
            }
            !ended
        });
        done
    }

    fn flowing(&self) -> usize {
        self.jobs
            .iter()
            .filter(|job| job.flows_at <= self.now)
            .count()
    }

    fn flow_until(&mut self, now: Duration) {
        let flowing = self.flowing();
        let each =
            now.saturating_sub(self.now).as_secs_f64() * self.bytes_per_s / flowing.max(1) as f64;
        for job in self.jobs.iter_mut().filter(|job| job.flows_at <= self.now) {
            job.remaining_bytes -= each;
        }
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(link: &mut Link) -> Vec<(RequestId, f64)> {
        let mut ended = Vec::new();
        while let Some(at) = link.next_event_at() {
            ended.extend(
                link.advance(at)
                    .into_iter()
                    .map(|id| (id, at.as_secs_f64())),
            );
        }
        ended
    }

    fn check(loads: &[(f64, f64)], expected: &[(u64, f64)]) {
        let mut link = Link::new(100.0, Duration::from_millis(500));
        let mut ended = Vec::new();
        for (index, (at, bytes)) in loads.iter().enumerate() {
            let at = Duration::from_secs_f64(*at);
            while let Some(next) = link.next_event_at().filter(|next| *next <= at) {
                ended.extend(
                    link.advance(next)
                        .into_iter()
                        .map(|id| (id, next.as_secs_f64())),
                );
            }
            link.begin(at, RequestId(index as u64), *bytes);
        }
        ended.extend(run(&mut link));
        assert_eq!(ended.len(), expected.len());
        for ((id, at), (expected_id, expected_at)) in ended.iter().zip(expected) {
            assert_eq!(id.0, *expected_id);
            assert!(
                (at - expected_at).abs() < 1e-6,
                "load {id:?} ended at {at}, not {expected_at}"
            );
        }
    }

    #[test]
    fn one_load_takes_latency_plus_bytes_over_bandwidth() {
        check(&[(1.0, 200.0)], &[(0, 3.5)]);
    }

    #[test]
    fn equal_loads_share_and_end_together() {
        check(&[(0.0, 100.0), (0.0, 100.0)], &[(0, 2.5), (1, 2.5)]);
    }

    #[test]
    fn a_load_over_a_slow_link_does_not_end_with_another_one_that_ends_a_little_earlier() {
        // 100 bytes/s: 0.4 bytes more are 4 ms more, not a rounding error.
        check(&[(0.0, 100.0), (0.0, 100.4)], &[(0, 2.5), (1, 2.504)]);
    }

    #[test]
    fn a_late_load_slows_the_first_only_while_both_flow() {
        // Alone 0.5..1.5 s (100 bytes), shared from 1.5 s: 100 bytes left at 50 bytes/s until 3.5 s, by when
        // the second has 100 of its 150 bytes; the last 50 flow alone.
        check(&[(0.0, 200.0), (1.0, 150.0)], &[(0, 3.5), (1, 4.0)]);
    }
}
