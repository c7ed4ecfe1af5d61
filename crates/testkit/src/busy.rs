//! A core that has other things to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Each takes its turn before what runs here does.
const BUSY_THREADS: usize = 2;

/// Held for writing while a test of this program keeps a core busy.
static CORES: RwLock<()> = RwLock::new(());

/// While this lives, no test of this program keeps a core busy: for tests that hold times against each other.
pub fn undisturbed() -> RwLockReadGuard<'static, ()> {
    CORES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs something on one core that others keep busy meanwhile, and that it gets only when they leave it; processes that it
/// starts are bound to that core too.
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
                give_way();
                run()
            })
            .join()
    });
    drop(busy);
    done.expect("what ran has not panicked")
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

/// Everybody else goes before the calling thread and what it starts from now on: who wakes on a core that is in use then waits
/// for tens of milliseconds, however the scheduler favours those that mostly sleep.
fn give_way() {
    setpriority_process(None, 10).expect("a thread can always be made to give way");
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
