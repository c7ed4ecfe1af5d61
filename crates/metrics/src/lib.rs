//! Statistics over request timelines: records, windows, percentiles, summaries and the CSV schemas.
//!
//! Promise: pure. Nothing here reads a clock, opens a file or draws a random number; readers take
//! `impl Read`, writers take `impl Write`, stamps come in as [`std::time::Duration`] since the run began
//! or as Unix seconds once they are rows.
//!
//! The way of a number: [`timeline`] (stamps) → [`record`] (one row) → [`window`] (one level) →
//! [`phase`], [`period`] ([`attribution`]) and [`summary`] (rows of files) → [`retry`] (points and bands of charts).
//! [`schema`] reads and writes all rows, [`selfcheck`] compares what was meant with what the server says it received.
//! [`tally`] counts the requests of a test that is too long to keep them.
//! [`health`] is what the client knows of its own part in a window. [`single_prompt`] has the rows of one prompt sent twice, [`caching`] judges them by the intervals of [`interval`].

pub mod attribution;
pub mod caching;
pub mod health;
pub mod interval;
pub mod percentile;
pub mod period;
pub mod phase;
pub mod record;
pub mod retry;
pub mod sample;
pub mod schema;
pub mod selfcheck;
pub mod single_prompt;
pub mod spread;
pub mod summary;
pub mod tally;
pub mod timeline;
pub mod window;

pub use attribution::{PeriodFigures, TokenAttribution};
pub use percentile::Stats;
pub use period::{PeriodRow, summarise_periods};
pub use phase::PhaseRow;
pub use record::{FailedRequest, RequestIntent, RequestRecord, WallAnchor};
pub use retry::{RetryMetrics, retry_metrics, retry_metrics_by_phase};
pub use sample::{Completed, Sample};
pub use single_prompt::SinglePromptRow;
pub use summary::{PhaseSample, SummaryRow, TestKey, summarise};
pub use tally::RequestTally;
pub use timeline::{ChunkStamp, Exchange, Failure, FailureKind, Timeline, Usage};
pub use window::{LevelMetrics, SpeedMetric, Throughput, TtftMetric, WindowSample};
