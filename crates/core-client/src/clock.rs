//! The run's clock: monotonic stamps since one epoch, with the wall clock read exactly once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::record::WallAnchor;
use tokio::time::Instant;

/// Stamps of one run. A copy stamps on the same scale.
///
/// Built on tokio's instant, so that a paused clock pauses the stamps too.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    epoch: Instant,
    anchor: WallAnchor,
}

impl RunClock {
    /// Anchors the monotonic and the wall clock to each other, now.
    #[must_use]
    pub fn start() -> Self {
        let epoch = Instant::now();
        // A clock set before 1970 is nobody's measurement; zero keeps the differences right.
        let unix_at_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        Self {
            epoch,
            anchor: WallAnchor { unix_at_epoch },
        }
    }

    /// Time since the clock was started.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Turns stamps of this clock into Unix seconds.
    #[must_use]
    pub fn anchor(&self) -> WallAnchor {
        self.anchor
    }
}
