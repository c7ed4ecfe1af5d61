//! What every tester does between its arguments and its first request.
//!
//! Promise: one meaning of the shared options in all testers. A value that cannot be used is refused in one line,
//! before anything is sent or written; what a file or a log may show of a request holds no secret. Refuses to know
//! any single tester; what measures is the engine, to which [`study`] hands over.
//!
//! | Module | Holds |
//! |---|---|
//! | [`check`], [`ArgumentError`] | checks of single values, and the words of a refusal |
//! | [`requests`] | servers, and what every request carries: from options to client |
//! | [`command`] | the options that repeat a run |
//! | [`terminal`] | the log and the live display of a run |
//! | [`tokenizer`] | which tokenizer counts, and how it is found |
//! | [`seed`] | the seed given, or a fresh one |
//! | [`descriptors`] | room for the sockets |
//! | [`memory`] | room for the prompts |
//! | [`study`] | the frame of testers that measure test after test: options, progress, log, exit code |

pub mod check;
pub mod command;
pub mod descriptors;
mod error;
pub mod memory;
pub mod requests;
pub mod seed;
pub mod study;
pub mod terminal;
pub mod tokenizer;

pub use error::ArgumentError;
pub use requests::Requests;
