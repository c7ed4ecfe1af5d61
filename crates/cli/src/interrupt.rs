//! Ctrl-C for tools that write files one after another.
//!
//! Promise: the first Ctrl-C lets the file in hand be finished and no other be begun; the second ends the
//! process at once. Both lead to exit code 130. Refuses to be asked for twice in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::AppExit;

/// Whether the user wants to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. Where the system has no Ctrl-C, or somebody listens already, it never comes.
    #[must_use]
    pub fn listen() -> Self {
        let flag = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&flag);
        let _ = ctrlc::set_handler(move || {
            if seen.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(AppExit::Interrupted.code()));
            }
        });
        Self(flag)
    }

    /// Whether it came.
    #[must_use]
    pub fn came(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_by_itself() {
        assert!(!Interrupt::default().came());
    }
}
