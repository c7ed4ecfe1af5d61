//! How long something that is ready waits for its runtime, felt on the runtime itself.
//!
//! A thread of its own wakes each runtime every few milliseconds with the instant at which it did; a task on the
//! runtime takes the stamps, as it would take bytes, and notes how old they are. When the thread itself is late
//! its stamps are later, and what is noted is right all the same.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use metrics::health::Histogram;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Between two stamps to a runtime.
const EVERY: Duration = Duration::from_millis(5);

/// What was felt since somebody asked last.
#[derive(Debug, Clone)]
pub struct Felt {
    /// Waits for a runtime, of all runtimes.
    pub lag: Histogram,
    /// Processor time of the process.
    pub cpu: Duration,
    /// Time that passed.
    pub wall: Duration,
}

/// Asked for what the runtimes feel; ends its thread when dropped.
#[derive(Debug)]
pub struct Probe {
    lag: Arc<Mutex<Histogram>>,
    last: Mutex<(Instant, Duration)>,
    /// Nobody stamps once this is gone.
    _alive: Arc<()>,
}

/// The part of a probe that runs on a runtime.
#[derive(Debug)]
pub struct Feeler {
    stamps: UnboundedReceiver<Instant>,
    lag: Arc<Mutex<Histogram>>,
}

impl Probe {
    /// Starts a probe of so many runtimes. Each has to run its [`Feeler::feel`].
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(n_runtimes: usize) -> io::Result<(Self, Vec<Feeler>)> {
        let lag = Arc::<Mutex<Histogram>>::default();
        let (senders, feelers): (Vec<UnboundedSender<Instant>>, Vec<Feeler>) = (0..n_runtimes)
            .map(|_| {
                let (sender, stamps) = unbounded_channel();
                let lag = Arc::clone(&lag);
                (sender, Feeler { stamps, lag })
            })
            .unzip();
        let alive = Arc::new(());
        let watched = Arc::downgrade(&alive);
        thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || {
                while watched.strong_count() > 0 {
                    for sender in &senders {
                        // A runtime that has ended feels nothing any more.
                        let _ = sender.send(Instant::now());
                    }
                    thread::sleep(EVERY);
                }
            })?;
        let probe = Self {
            lag,
            last: Mutex::new((Instant::now(), cpu_time())),
            _alive: alive,
        };
        Ok((probe, feelers))
    }

    /// What was felt since the last call, or since the start.
    #[must_use]
    pub fn take(&self) -> Felt {
        let lag = std::mem::take(&mut *self.lag.lock().unwrap_or_else(PoisonError::into_inner));
        let now = (Instant::now(), cpu_time());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, now);
        Felt {
            lag,
            cpu: now.1.saturating_sub(before.1),
            wall: now.0 - before.0,
        }
    }
}

impl Feeler {
    /// Notes stamps until the probe is gone.
    pub async fn feel(mut self) {
        while let Some(stamp) = self.stamps.recv().await {
            let waited = stamp.elapsed();
            let mut lag = self.lag.lock().unwrap_or_else(PoisonError::into_inner);
            lag.record(waited);
        }
    }
}

/// Processor time that this process has used.
fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(spent.tv_sec).unwrap_or_default(),
        u32::try_from(spent.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime that is kept from its tasks has lags as long as that; however busy the machine is, no
    /// shorter ones. What a free one feels depends on the machine and is no test.
    #[test]
    fn a_runtime_that_is_kept_busy_feels_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (probe, feelers) = Probe::start(1).unwrap();
        runtime.block_on(async {
            for feeler in feelers {
                tokio::spawn(feeler.feel());
            }
            tokio::time::sleep(EVERY * 4).await;
            let free = probe.take();
            assert!(!free.lag.is_empty());
            let busy_until = Instant::now() + Duration::from_millis(300);
            while Instant::now() < busy_until {
                std::hint::black_box(0);
            }
            tokio::time::sleep(EVERY * 4).await;
        });
        let felt = probe.take();
        assert!(felt.lag.max() > Duration::from_millis(200), "{felt:?}");
        let middle = felt.lag.quantile(0.5).unwrap();
        assert!(middle > Duration::from_millis(20), "{middle:?}");
        assert!(felt.wall >= Duration::from_millis(300));
    }
}
