//! Who wants to know of output while a request runs.
//!
//! Promise: every chunk is told once, in order, right after the frame that held it was decoded; telling is
//! one call per frame with output. Refuses to wait: a witness returns at once.

use std::time::Duration;

use metrics::timeline::ChunkStamp;

/// Told of output as it arrives. The result of the request holds all of it again.
pub trait Witness {
    /// Chunks of one frame; `launched` is the request's own stamp.
    fn arrived(&mut self, launched: Duration, chunks: &[ChunkStamp]);
}

/// Nobody watches.
impl Witness for () {
    fn arrived(&mut self, _launched: Duration, _chunks: &[ChunkStamp]) {}
}
