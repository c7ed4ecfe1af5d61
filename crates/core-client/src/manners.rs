//! What a server does with a connection when a streamed answer has ended, and how sure that is.
//!
//! Some (llama.cpp) close it although they have promised to keep it; a request handed over in that moment is lost. It
//! is seen on the connections of the first answers. Promise: one broken connection convicts nobody (a proxy that is
//! reloaded, a server that is restarted): it is looked again; and who was found to close is looked at again later.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A request that breaks so soon behind the answer before it met a server that was just closing; one that breaks later
/// was being worked on.
const JUST_ENDED: Duration = Duration::from_millis(50);
/// How long a server that closes connections is believed to do so; twice as long each time it is found again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Doublings of that, at most: about an hour.
const MOST_DOUBLINGS: u32 = 7;

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: look at the next connection whose answer has ended.
    Nothing,
    /// Connections stay open.
    Keeps,
    /// Connections are closed.
    Closes,
}

/// What is known of one server.
#[derive(Debug, Default)]
pub(crate) struct Manners {
    known: AtomicU8,
    found: Mutex<Found>,
}

/// How often and when.
#[derive(Debug, Default)]
struct Found {
    /// A connection that was thought to stay open was closed under a request.
    n_doubts: u32,
    n_closes: u32,
    closes_since: Option<Instant>,
}

impl Manners {
    const NOTHING: u8 = 0;
    const KEEPS: u8 = 1;
    const CLOSES: u8 = 2;

    /// What is known now.
    pub(crate) fn known(&self) -> Known {
        match self.known.load(Ordering::Relaxed) {
            Self::NOTHING => Known::Nothing,
            Self::KEEPS => Known::Keeps,
            _ if self.found().is_to_be_looked_at_again() => {
                self.known.store(Self::NOTHING, Ordering::Relaxed);
                Known::Nothing
            }
            _ => Known::Closes,
        }
    }

    /// A connection was closed, unasked, behind an answer that had ended.
    pub(crate) fn saw_close(&self) {
        let mut found = self.found();
        if self.known.swap(Self::CLOSES, Ordering::Relaxed) != Self::CLOSES {
            found.close();
        }
    }

    /// A connection stayed open as long as it was looked at.
    pub(crate) fn saw_no_close(&self) {
        let (nothing, keeps) = (Self::NOTHING, Self::KEEPS);
        // Who was seen to close meanwhile does.
        let _ = self
            .known
            .compare_exchange(nothing, keeps, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A connection broke under a request; the answer before it had ended at that instant.
    pub(crate) fn broke_under_a_request(&self, rested_since: Instant) {
        let mut found = self.found();
        let is_known_to_keep = self.known.load(Ordering::Relaxed) == Self::KEEPS;
        // Several at once are one occasion: behind the first one nothing is known any more.
        if !is_known_to_keep || rested_since.elapsed() > JUST_ENDED {
            return;
        }
        found.n_doubts += 1;
        if found.n_doubts == 1 {
            self.known.store(Self::NOTHING, Ordering::Relaxed);
        } else {
            // It closes later than one looks.
            self.known.store(Self::CLOSES, Ordering::Relaxed);
            found.close();
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn close(&mut self) {
        /// Every thread and every endpoint finds out by itself; it is said once.
        static TOLD: Once = Once::new();
        self.n_closes += 1;
        self.closes_since = Some(Instant::now());
        TOLD.call_once(|| {
            tracing::info!(
                "The server closes connections behind streamed answers, so each request gets a connection of its own"
            );
        });
    }

    fn is_to_be_looked_at_again(&self) -> bool {
        let doublings = self.n_closes.saturating_sub(1).min(MOST_DOUBLINGS);
        self.closes_since
            .is_none_or(|since| since.elapsed() >= LOOK_AGAIN * 2_u32.pow(doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_in_the_middle_of_an_answer_says_nothing() {
        let manners = Manners::default();
        manners.saw_no_close();
        for _ in 0..10 {
            let rested_since = Instant::now();
            pass(Duration::from_millis(200)).await;
            manners.broke_under_a_request(rested_since);
            assert_eq!(manners.known(), Known::Keeps);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_is_reloaded_once_is_trusted_again() {
        let manners = Manners::default();
        manners.saw_no_close();
        let rested_since = Instant::now();
        for _ in 0..64 {
            manners.broke_under_a_request(rested_since);
        }
        assert_eq!(manners.known(), Known::Nothing);
        manners.saw_no_close();
        assert_eq!(manners.known(), Known::Keeps);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_closes_too_late_to_be_seen_is_found_at_the_second_lost_request() {
        let manners = Manners::default();
        for known in [Known::Nothing, Known::Closes] {
            manners.saw_no_close();
            manners.broke_under_a_request(Instant::now());
            assert_eq!(manners.known(), known);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_closes_is_looked_at_again_ever_more_rarely() {
        let manners = Manners::default();
        manners.saw_close();
        manners.saw_no_close();
        assert_eq!(manners.known(), Known::Closes);
        pass(LOOK_AGAIN).await;
        assert_eq!(manners.known(), Known::Nothing);
        manners.saw_close();
        pass(LOOK_AGAIN).await;
        assert_eq!(manners.known(), Known::Closes);
        pass(LOOK_AGAIN).await;
        assert_eq!(manners.known(), Known::Nothing);
        manners.saw_no_close();
        assert_eq!(manners.known(), Known::Keeps);
    }
}
