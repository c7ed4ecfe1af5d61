//! `llm_benchmark`: a closed-loop load test of a simple text-generation endpoint that takes
//! `{"prompt", "max_tokens", "temperature"}` and answers `{"text", "cached"}`.
//!
//! Promise: prompts, arithmetic, JSON output and console block are those of the program it replaces;
//! what was wrong there (invisible errors, a hang at concurrency 0, lost results on Ctrl-C) is not.
//!
//! | Module | Holds |
//! |---|---|
//! | [`args`] | what was typed |
//! | [`plan`] | what it means, refused when it means nothing |
//! | [`prompt`] | which prompt is request i, pure |
//! | [`load`] | the only async part: a fixed number of requests in flight |
//! | [`answer`] | what an answer says, pure |
//! | [`client`] | what the client itself adds to the figures |
//! | [`summary`] | figures over all requests, pure |
//! | [`text`] | console block, JSON and notes, pure |
//! | [`output`] | the result file, tried before anything is sent |
//! | [`run`] | one run from plan to exit code |

pub mod answer;
pub mod args;
pub mod client;
pub mod load;
pub mod output;
pub mod plan;
pub mod prompt;
pub mod run;
mod stop;
pub mod summary;
pub mod text;

use cli::{AppExit, Failure};

/// Runs the tool with parsed arguments.
///
/// # Errors
/// Wrong arguments, with exit code 2, before anything is sent or written; a run that failed, with exit
/// code 1.
pub fn run(args: args::Args) -> Result<AppExit, Failure> {
    run::run(&plan::Plan::try_from(args).map_err(Failure::usage)?)
}
