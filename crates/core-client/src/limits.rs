//! What ends a request before its answer is complete: somebody's wish, or its time.
//!
//! Promise: both end a request at once, and neither costs its chunks anything. A cancellation is shared by all
//! requests of a test and looking at it takes locks that all of them take, so it is looked at when it wakes the
//! request, not on every chunk.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Why a request was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Somebody wanted it.
    Cancelled,
    /// Its time was over.
    TimedOut,
}

/// Runs `work` to its end, but no longer than `limit` and not once `cancel` was called. What has ended by itself counts.
pub(crate) async fn unless_cut<F: Future>(
    mut work: Pin<&mut F>,
    limit: Duration,
    cancel: &CancellationToken,
) -> Result<F::Output, Cut> {
    if cancel.is_cancelled() {
        return Err(Cut::Cancelled);
    }
    let cut = pin!(async {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Cut::Cancelled,
            () = sleep(limit) => Cut::TimedOut,
        }
    });
    let mut cut = Aside::new(cut);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => cut.poll(cx).map(Err),
    })
    .await
}

/// A future that is polled when it woke the task, and not when something else did.
struct Aside<'a, F> {
    future: Pin<&'a mut F>,
    alarm: Arc<Alarm>,
    /// Of the alarm.
    waker: Waker,
    /// Whom the alarm wakes.
    task: Option<Waker>,
}

#[derive(Debug)]
struct Alarm {
    task: AtomicWaker,
    rang: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, SeqCst);
        self.task.wake();
    }
}

impl<'a, F: Future> Aside<'a, F> {
    fn new(future: Pin<&'a mut F>) -> Self {
        let alarm = Arc::new(Alarm {
            task: AtomicWaker::new(),
            // Polled once to begin with: that is how it learns whom to wake.
            rang: AtomicBool::new(true),
        });
        Self {
            future,
            waker: Waker::from(Arc::clone(&alarm)),
            alarm,
            task: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let known = self.task.as_ref();
        if !known.is_some_and(|task| task.will_wake(cx.waker())) {
            // Before the alarm is looked at: what rings after that look wakes this task.
            self.alarm.task.register(cx.waker());
            self.task = Some(cx.waker().clone());
        }
        // A read costs less than a swap, and all but one of a request's polls end here.
        if self.alarm.rang.load(SeqCst) && self.alarm.rang.swap(false, SeqCst) {
            // A ring uses the registration up, and need not be the end: timers and cancellations ring, too, when the task
            // has run for so long that tokio wants it to yield. Before the future is polled: what rings after that wakes this task.
            self.alarm.task.register(cx.waker());
            return self
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&self.waker));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
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

    fn task() -> (Arc<Counted>, Waker) {
        let task = Arc::new(Counted::default());
        (Arc::clone(&task), Waker::from(task))
    }

    #[test]
    fn what_rang_is_polled_and_what_did_not_is_left_alone() {
        let (n_polls, ringer) = (Cell::new(0), RefCell::new(None));
        let future = pin!(poll_fn(|cx| {
            n_polls.set(n_polls.get() + 1);
            *ringer.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        let mut aside = Aside::new(future);
        let (first, waker) = task();
        let mut poll = |waker: &Waker| aside.poll(&mut Context::from_waker(waker));
        for _ in 0..100 {
            assert_eq!(poll(&waker), Poll::Pending);
        }
        assert_eq!((n_polls.get(), first.0.load(SeqCst)), (1, 0));

        ringer.take().unwrap().wake();
        assert_eq!(first.0.load(SeqCst), 1, "the task sleeps on");
        assert_eq!(poll(&waker), Poll::Pending);
        assert_eq!(n_polls.get(), 2);

        // A future that moves to another task wakes that one.
        let (second, waker) = task();
        assert_eq!(poll(&waker), Poll::Pending);
        assert_eq!(n_polls.get(), 2);
        ringer.take().unwrap().wake();
        assert_eq!((first.0.load(SeqCst), second.0.load(SeqCst)), (1, 1));
        assert_eq!(poll(&waker), Poll::Pending);
        assert_eq!(n_polls.get(), 3);
    }

    #[test]
    fn an_alarm_that_rings_again_wakes_the_task_again() {
        let ringer = RefCell::new(None);
        let future = pin!(poll_fn(|cx| {
            *ringer.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        let mut aside = Aside::new(future);
        let (woken, waker) = task();
        for rings in 0..5 {
            assert_eq!(aside.poll(&mut Context::from_waker(&waker)), Poll::Pending);
            assert_eq!(woken.0.load(SeqCst), rings);
            ringer.take().unwrap().wake();
        }
    }

    #[tokio::test]
    async fn requests_that_use_up_what_a_task_may_do_at_once_are_ended_all_the_same() {
        let cancel = CancellationToken::new();
        let waiting = (0..500).map(|_| async {
            let work = async {
                for _ in 0..4 {
                    tokio::task::coop::consume_budget().await;
                }
                std::future::pending::<()>().await;
            };
            unless_cut(pin!(work), Duration::from_secs(3600), &cancel).await
        });
        let waiting = futures_util::future::join_all(waiting);
        let stop = async {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            cancel.cancel();
        };
        let all = async { tokio::join!(waiting, stop).0 };
        let ended = tokio::time::timeout(Duration::from_secs(20), all).await;
        let ended = ended.expect("requests that nothing wakes any more");
        assert!(ended.iter().all(|end| *end == Err(Cut::Cancelled)));
    }

    #[tokio::test]
    async fn one_cancellation_ends_all_that_wait() {
        let cancel = CancellationToken::new();
        let waiting = (0..100).map(|_| async {
            unless_cut(pin!(std::future::pending::<()>()), Duration::MAX, &cancel).await
        });
        let waiting = futures_util::future::join_all(waiting);
        let stop = async {
            tokio::task::yield_now().await;
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(waiting, stop);
        assert!(ended.iter().all(|end| *end == Err(Cut::Cancelled)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_is_over_between_two_wakes_of_the_work_too() {
        let cancel = CancellationToken::new();
        let started = tokio::time::Instant::now();
        let work = pin!(async {
            for _ in 0..100 {
                sleep(Duration::from_millis(30)).await;
            }
        });
        let ended = unless_cut(work, Duration::from_millis(100), &cancel).await;
        assert_eq!(ended, Err(Cut::TimedOut));
        assert_eq!(started.elapsed(), Duration::from_millis(100));
    }

    #[tokio::test]
    async fn work_that_is_done_counts_although_it_was_cancelled_meanwhile() {
        let cancel = CancellationToken::new();
        let work = pin!(async { cancel.cancel() });
        assert_eq!(unless_cut(work, Duration::MAX, &cancel).await, Ok(()));
        let work = pin!(async {});
        let ended = unless_cut(work, Duration::MAX, &cancel).await;
        assert_eq!(ended, Err(Cut::Cancelled));
    }
}
