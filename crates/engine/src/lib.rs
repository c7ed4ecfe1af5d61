//! The only async orchestration of the suite: windows, warm-up, tests and studies, signals and resume.
//!
//! Promises: nothing heavy runs on the thread that reads streams; a window ends by the clock; no request is
//! retried, lost or counted twice; whatever was measured is on disk before anything is derived from it.
//! Refuses to parse arguments and to draw.

pub mod calibration;
pub mod doubt;
pub mod event;
pub mod feed;
mod files;
pub mod growth;
mod health;
pub mod load;
pub mod pacer;
pub mod progress;
pub mod proof;
pub mod recorder;
pub mod rotation;
pub mod runtimes;
pub mod stop;
pub mod study;
pub mod sustained;
pub mod test_run;
pub mod transport;
pub mod warm_up;
pub mod window;
