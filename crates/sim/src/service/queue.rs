//! The way from the driver to one stream: a queue with one sender and one reader.
//!
//! Promises: sending never waits, and a reader that keeps up touches the same few cache lines for every token.
//! With thousands of streams most of a token's cost is memory that another stream has pushed out of the caches
//! meanwhile; a general channel, with its list of blocks and its permits, touches more of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::model::Event;
use crate::slotted::Slotted;

/// The reader is gone; nobody will see what is sent.
#[derive(Debug)]
pub(super) struct ReaderGone;

#[derive(Debug, Default)]
struct State {
    events: Slotted<Event>,
    /// The reader's task; kept from one wait to the next.
    reader: Option<Waker>,
    /// The reader found nothing and waits to be woken.
    is_waiting: bool,
    sender_gone: bool,
    reader_gone: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the reader if it waits.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.is_waiting)
            && let Some(reader) = &state.reader
        {
            reader.wake_by_ref();
        }
    }
}

/// The driver's end; dropping it ends the stream behind what was sent.
#[derive(Debug)]
pub(super) struct EventSender(Arc<Shared>);

/// The stream's end.
#[derive(Debug)]
pub(super) struct EventReceiver(Arc<Shared>);

/// A new queue.
pub(super) fn queue() -> (EventSender, EventReceiver) {
    let shared = Arc::<Shared>::default();
    (EventSender(Arc::clone(&shared)), EventReceiver(shared))
}

impl EventSender {
    pub(super) fn send(&self, event: Event) -> Result<(), ReaderGone> {
        let mut state = self.0.state();
        if state.reader_gone {
            return Err(ReaderGone);
        }
        state.events.push_back(event);
        self.0.wake(state);
        Ok(())
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.sender_gone = true;
        self.0.wake(state);
    }
}

impl EventReceiver {
    /// The next event; `None` when all were read and the sender is gone.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.0.state();
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.sender_gone {
            return Poll::Ready(None);
        }
        state.is_waiting = true;
        match &mut state.reader {
            Some(reader) => reader.clone_from(context.waker()),
            None => state.reader = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.reader_gone = true;
        state.reader = None;
        state.events = Slotted::default();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::model::{EventKind, RequestId};

    fn token(position: u32) -> Event {
        Event {
            at: Duration::ZERO,
            id: RequestId(0),
            kind: EventKind::Token { position },
        }
    }

    #[tokio::test]
    async fn events_come_in_order_whether_the_reader_waits_or_lags_and_then_the_end() {
        let (sender, mut receiver) = queue();
        let reader = tokio::spawn(async move {
            let mut events = Vec::new();
            while let Some(event) = poll_fn(|context| receiver.poll_next(context)).await {
                events.push(event);
            }
            events
        });
        for position in 0..100 {
            sender.send(token(position)).unwrap();
            if position % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(sender);
        let expected: Vec<_> = (0..100).map(token).collect();
        assert_eq!(reader.await.unwrap(), expected);
    }

    #[test]
    fn a_reader_that_is_gone_is_noticed() {
        let (sender, receiver) = queue();
        assert!(sender.send(token(0)).is_ok());
        drop(receiver);
        assert!(sender.send(token(1)).is_err());
    }
}
