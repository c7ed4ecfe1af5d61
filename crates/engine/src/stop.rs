//! How a run is told to stop: one token passed down, and the reason beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use tokio_util::sync::CancellationToken;

/// Why a run was stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl StopReason {
    /// The exit code that goes with it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Asked by everything that may have to end early.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: Arc<AtomicU8>,
}

impl Stop {
    /// A stop that nobody has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the stop. The first reason stands.
    pub fn request(&self, reason: StopReason) {
        let code = reason.exit_code();
        // Only the first request writes; a failed exchange means that another one came before.
        let _first = self
            .reason
            .compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        self.token.cancel();
    }

    /// Whether, and why, the run is to stop.
    #[must_use]
    pub fn requested(&self) -> Option<StopReason> {
        match self.reason.load(Ordering::SeqCst) {
            130 => Some(StopReason::Interrupt),
            143 => Some(StopReason::Terminate),
            _ => None,
        }
    }

    /// Resolves when the stop is asked for.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }

    /// Listens for SIGINT and SIGTERM on a thread of its own, so that a signal is heard while the run's
    /// thread is busy. The first asks for a stop, a second one ends the process at once.
    ///
    /// # Errors
    /// When the thread or the handlers cannot be set up.
    pub fn listen(&self) -> std::io::Result<()> {
        let stop = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            use tokio::signal::unix::{SignalKind, signal};
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    loop {
                        let reason = tokio::select! {
                            _ = interrupt.recv() => StopReason::Interrupt,
                            _ = terminate.recv() => StopReason::Terminate,
                        };
                        if stop.requested().is_some() {
                            std::process::exit(i32::from(reason.exit_code()));
                        }
                        stop.request(reason);
                    }
                });
            })?;
        Ok(())
    }
}
