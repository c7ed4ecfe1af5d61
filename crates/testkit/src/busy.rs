//! A core that has other things to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// So many that whoever wakes may wait for tens of milliseconds, which no first token of tens of milliseconds can bear.
const BUSY_THREADS: usize = 24;

/// Held for writing while a test of this program keeps a core busy.
static CORES: RwLock<()> = RwLock::new(());

/// While this lives, no test of this program keeps a core busy: for tests that hold times against each other.
pub fn undisturbed() -> RwLockReadGuard<'static, ()> {
    CORES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs something on one core that others keep busy meanwhile; processes that it starts are bound to that core too.
///
/// # Panics
/// When a thread cannot be bound to a core, or when what ran panics.
pub fn on_a_busy_core<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let _cores = CORES.write().unwrap_or_else(PoisonError::into_inner);
    let core = a_core();
    let busy = Busy::on(core, BUSY_THREADS);
    let done = thread::scope(|scope| {
        scope
            .spawn(|| {
                bind_to(core);
                run()
            })
            .join()
    });
    drop(busy);
    done.expect("what ran has not panicked")
}

/// As [`on_a_busy_core`], of up to three times the first in which `shows` sees what it looks for, or else the last. What else
/// runs beside the tests slows servers too, and a client's error is judged as a share of what it measured.
///
/// # Panics
/// As [`on_a_busy_core`].
pub fn on_a_busy_core_until<T: Send>(
    shows: impl Fn(&T) -> bool,
    mut run: impl FnMut() -> T + Send,
) -> T {
    let mut outcome = on_a_busy_core(&mut run);
    for _ in 0..2 {
        if shows(&outcome) {
            break;
        }
        outcome = on_a_busy_core(&mut run);
    }
    outcome
}

/// A core that this process may run on.
fn a_core() -> usize {
    let cores = sched_getaffinity(None).expect("the cores of this process are known");
    (0..CpuSet::MAX_CPU)
        .find(|core| cores.is_set(*core))
        .expect("a process has a core")
}

/// Binds the calling thread; what it starts inherits that.
fn bind_to(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("a thread can be bound to one of its cores");
}

/// Threads that do nothing but use a core; they end when this goes.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn on(core: usize, n_threads: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        for _ in 0..n_threads {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                bind_to(core);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
