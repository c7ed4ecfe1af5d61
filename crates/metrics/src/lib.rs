//! Statistics over request timelines: records, windows, percentiles, summaries and the CSV schemas.
//!
//! Promise: pure. Nothing here reads a clock, opens a file or draws a random number; readers take
//! `impl Read`, writers take `impl Write`, stamps come in as [`std::time::Duration`] since the run began.

pub mod record;
pub mod timeline;
