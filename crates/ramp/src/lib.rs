//! Controllers: the result of a window in, the next window out.
//!
//! Promise: pure and synchronous. Time comes in as an argument, nothing is read, slept or drawn, so the
//! same observations always give the same windows. A controller never runs a window, does not know what a
//! request is and writes no text; what there is to say it leaves as typed [`Note`]s.

mod climb;
pub mod controller;
mod fixed;
mod held;
pub mod judge;
pub mod note;
pub mod outcome;
pub mod peak;
pub mod refine;
pub mod sustained;

pub use climb::{KnownLevel, RampController, RampRules, RampSettings};
pub use controller::{Controller, Purpose, Step, WindowSpec};
pub use fixed::{FixedController, FixedRules, FixedSettings, LevelOrder, RepeatName};
pub use held::highest_held;
pub use judge::{Broken, Observation, Thresholds, Verdict, headroom_multiple, judge};
pub use note::Note;
pub use outcome::{Peak, RampOutcome, StopReason, TestedLevel};
pub use peak::Closest;
pub use sustained::{
    Decided, Decision, PeriodObservation, PeriodSpec, PeriodStep, SustainedController,
    SustainedRules, SustainedSettings, SustainedStop,
};
