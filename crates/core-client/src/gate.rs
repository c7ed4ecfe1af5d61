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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// The waker of a task that counts how often it is woken.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Polls once, waking the gate while driving or waiting as told.
    fn polled_once(
        wake_in_drive: bool,
        wake_in_wait: bool,
        answer: Poll<()>,
    ) -> (Gate, Arc<Counted>) {
        let (gate, task) = (Gate::new(), Arc::new(Counted::default()));
        let waker = Waker::from(Arc::clone(&task));
        let polled = gate.poll(
            &mut Context::from_waker(&waker),
            |cx| {
                if wake_in_drive {
                    cx.waker().wake_by_ref();
                }
            },
            |cx| {
                if wake_in_wait {
                    cx.waker().wake_by_ref();
                }
                answer
            },
        );
        assert_eq!(polled, answer);
        (gate, task)
    }

    #[test]
    fn a_wake_that_the_same_poll_answers_is_kept_back() {
        assert_eq!(
            polled_once(true, false, Poll::Ready(())).1.0.load(SeqCst),
            0
        );
    }

    #[test]
    fn a_wake_that_is_left_when_nothing_is_ready_is_passed_on() {
        assert_eq!(polled_once(false, false, Poll::Pending).1.0.load(SeqCst), 0);
        assert_eq!(polled_once(true, false, Poll::Pending).1.0.load(SeqCst), 1);
        assert_eq!(polled_once(false, true, Poll::Pending).1.0.load(SeqCst), 1);
    }

    #[test]
    fn a_wake_between_polls_wakes_the_task() {
        let (gate, task) = polled_once(false, false, Poll::Pending);
        gate.waker.wake_by_ref();
        assert_eq!(task.0.load(SeqCst), 1);
    }
}
