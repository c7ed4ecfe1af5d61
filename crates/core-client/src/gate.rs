//! Lets one task poll a connection and its answer together without waking itself over and over.
//!
//! hyper's connection hands a body frame to its reader through a channel and wakes the reader; when both
//! are polled by one task, every such wake would schedule one more poll that finds nothing. A gate takes
//! the wakes that come during a poll and passes on only those that were not followed up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

#[derive(Debug, Default)]
struct State {
    task: AtomicWaker,
    is_polling: AtomicBool,
    is_woken: AtomicBool,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, SeqCst);
        if !self.is_polling.load(SeqCst) {
            self.task.wake();
        }
    }
}

/// The waker of one connection.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Arc<State>,
    waker: Waker,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let state = Arc::new(State::default());
        let waker = Waker::from(Arc::clone(&state));
        Self { state, waker }
    }

    /// Polls `drive`, then `wait`, on behalf of the task of `cx`. A wake that comes while `drive` runs
    /// is answered by `wait` right after it; one that is left when both are pending is passed on.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        drive: impl FnOnce(&mut Context<'_>),
        wait: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let State {
            task,
            is_polling,
            is_woken,
        } = &*self.state;
        task.register(cx.waker());
        is_polling.store(true, SeqCst);
        let mut inner = Context::from_waker(&self.waker);
        drive(&mut inner);
        let polled = wait(&mut inner);
        is_polling.store(false, SeqCst);
        if is_woken.swap(false, SeqCst) && polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }
}
