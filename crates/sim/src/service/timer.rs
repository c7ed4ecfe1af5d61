//! When the driver wakes up.
//!
//! Tokio's timers round up to a millisecond, which would be the largest part of how late a token is. A service
//! that runs in real time therefore waits for a timer of the system (Linux' `timerfd`); one under tokio's
//! paused clock must wait for tokio's.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// While nothing is due, tokio's timer is set this far ahead.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// One deadline at a time.
pub(super) enum Timer {
    Tokio(Pin<Box<Sleep>>),
    #[cfg(target_os = "linux")]
    System(system::SystemTimer),
}

impl Timer {
    /// A timer of tokio's clock, whether it is paused or not.
    pub(super) fn of_tokio() -> Self {
        Self::Tokio(Box::pin(sleep_until(Instant::now() + IDLE)))
    }

    /// The most exact timer there is for real time.
    pub(super) fn of_system() -> Self {
        #[cfg(target_os = "linux")]
        match system::SystemTimer::new() {
            Ok(timer) => return Self::System(timer),
            Err(error) => {
                tracing::warn!("no exact timer, tokens may be a millisecond late: {error}")
            }
        }
        Self::of_tokio()
    }

    /// Sets the deadline; `None` for never. One that has passed expires at once, but where `streams` are many not
    /// sooner after the last one than it is worth to wake up for.
    pub(super) fn set(&mut self, at: Option<Instant>, streams: usize) {
        match self {
            Self::Tokio(sleep) => sleep
                .as_mut()
                .reset(at.unwrap_or_else(|| Instant::now() + IDLE)),
            #[cfg(target_os = "linux")]
            Self::System(timer) => timer.set(at, streams),
        }
    }

    /// Waits for the deadline. Nothing is lost if it is dropped before.
    pub(super) async fn expired(&mut self) {
        match self {
            Self::Tokio(sleep) => sleep.as_mut().await,
            #[cfg(target_os = "linux")]
            Self::System(timer) => timer.expired().await,
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;
    use tokio::time::Instant;

    /// Least time from one wake to the next: thousands of streams have a token due each few microseconds, and a
    /// wake for each would cost more than the token.
    fn grain(streams: usize) -> Duration {
        Duration::from_nanos(80 * streams as u64).clamp(LEAST_GRAIN, MOST_GRAIN)
    }

    const LEAST_GRAIN: Duration = Duration::from_micros(20);
    const MOST_GRAIN: Duration = Duration::from_micros(400);

    pub(in super::super) struct SystemTimer {
        fd: AsyncFd<OwnedFd>,
        armed_for: Option<Instant>,
        last_wake: Instant,
    }

    impl SystemTimer {
        #[expect(
            deprecated,
            reason = "the constructor is safe for a descriptor that is owned and stays the same, as this one; \
                      its successor needs unsafe code, which this workspace forbids"
        )]
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            Ok(Self {
                fd: AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?,
                armed_for: None,
                last_wake: Instant::now(),
            })
        }

        pub(super) fn set(&mut self, at: Option<Instant>, streams: usize) {
            let at = at.map(|at| at.max(self.last_wake + grain(streams)));
            if at == self.armed_for {
                return;
            }
            self.armed_for = at;
            // Zero would switch it off.
            let left = at.map_or(Duration::ZERO, |at| {
                at.saturating_duration_since(Instant::now())
                    .max(Duration::from_nanos(1))
            });
            let time = Itimerspec {
                it_interval: Timespec::default(),
                it_value: Timespec {
                    // Longer than any clock runs.
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: left.subsec_nanos().into(),
                },
            };
            timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &time)
                .expect("a valid time was given to a timer that is open");
        }

        pub(super) async fn expired(&mut self) {
            loop {
                let Ok(mut ready) = self.fd.readable().await else {
                    // The runtime is going away, and the driver with it.
                    return std::future::pending().await;
                };
                let mut count = [0; 8];
                match rustix::io::read(ready.get_inner(), &mut count) {
                    Ok(_) => break,
                    Err(_) => ready.clear_ready(),
                }
            }
            self.armed_for = None;
            self.last_wake = Instant::now();
        }
    }
}
