//! Who wants to know of output while a request runs.
//!
//! Promise: every chunk is told once, in order, right after the frame that held it was decoded; telling is
//! one call per frame with output. Refuses to wait: a witness returns at once.

use metrics::timeline::{ChunkStamp, Launch};

/// Told of output as it arrives. The result of the request holds all of it again.
pub trait Witness {
    /// Chunks of one frame; `launch` is how the request went out.
    fn arrived(&mut self, launch: Launch, chunks: &[ChunkStamp]);
}

/// Nobody watches.
impl Witness for () {
    fn arrived(&mut self, _launch: Launch, _chunks: &[ChunkStamp]) {}
}
