//! Ctrl-C and SIGTERM: the first stops the run with everything measured reported, the second ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use cli::AppExit;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether, and why, the run is to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    pub(crate) token: CancellationToken,
    /// Exit code of the first signal; 0 while there was none.
    code: Arc<AtomicU8>,
}

impl Stop {
    /// Listens from now on, on the current runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let stop = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let listener = stop.clone();
        tokio::spawn(async move {
            loop {
                let exit = tokio::select! {
                    _ = interrupt.recv() => AppExit::Interrupted,
                    _ = terminate.recv() => AppExit::Terminated,
                };
                if listener.token.is_cancelled() {
                    std::process::exit(i32::from(exit.code()));
                }
                listener.code.store(exit.code(), Ordering::SeqCst);
                listener.token.cancel();
            }
        });
        Ok(stop)
    }

    /// How a stopped run ends.
    pub(crate) fn requested(&self) -> Option<AppExit> {
        let code = self.code.load(Ordering::SeqCst);
        [AppExit::Interrupted, AppExit::Terminated]
            .into_iter()
            .find(|exit| exit.code() == code)
    }
}
