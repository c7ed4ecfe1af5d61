//! A simulated LLM inference server with a prefix cache and known answers.
//!
//! * [`model`]: the engine, pure: time and seed are passed in, nothing is read from outside.
//! * [`profile`]: documented sets of numbers for the model.

pub mod model;
pub mod profile;
