//! Turns a session's events into rows on disk, lines, and the live display.
//!
//! Promise: the rows of a batch are on disk before its lines are told. A file that takes no more rows ends the
//! session: going on would measure into nowhere.

use std::io;
use std::path::{Path, PathBuf};

use cli::logging::{Line, log_lines};
use cli::number::thousands;
use cli::progress::ProgressHandle;
use metrics::record::FailedRequest;
use metrics::single_prompt::{SinglePromptRow, SizeFigures};
use report::files::{RequestWriter, SinglePromptWriter};

use crate::plan::Plan;
use crate::session::{BatchDone, Event, Observer};
use crate::text;

/// Where rows go.
#[derive(Debug)]
pub(super) struct Outputs {
    /// Answered requests.
    pub(super) rows: SinglePromptWriter,
    /// Failed and cancelled ones.
    pub(super) failures: RequestWriter,
}

/// What is left when a session is over.
#[derive(Debug)]
pub(super) struct Told {
    /// Sizes that were told as ended, in their order, tokens.
    pub(super) sizes: Vec<u64>,
    /// The file of rows.
    pub(super) rows_path: PathBuf,
    /// Whether everything measured is on disk.
    pub(super) is_stored: bool,
    /// Whether the lines for scripts reached stdout.
    pub(super) brief_lines: io::Result<()>,
}

/// Tells a session.
#[derive(Debug)]
pub(super) struct Teller {
    outputs: Outputs,
    live: ProgressHandle,
    brief: bool,
    n_iterations: u32,
    n_prompts: u32,
    n_repeats: u32,
    n_in_flight: u32,
    sizes: Vec<u64>,
    cannot_write: bool,
    brief_lines: io::Result<()>,
}

impl Teller {
    pub(super) fn new(plan: &Plan, outputs: Outputs, live: ProgressHandle) -> Self {
        Self {
            outputs,
            live,
            brief: plan.brief,
            n_iterations: plan.num_iterations,
            n_prompts: plan.concurrent_prompts,
            n_repeats: plan.cached_repeats,
            n_in_flight: 0,
            sizes: Vec::new(),
            cannot_write: false,
            brief_lines: Ok(()),
        }
    }

    /// The session is over. Rows that the disk refused are offered once more.
    pub(super) fn end(mut self) -> Told {
        let mut is_stored = !self.cannot_write;
        if self.cannot_write {
            is_stored = self.outputs.rows.append(&[]).is_ok() && self.outputs.rows.path().exists();
        }
        Told {
            sizes: self.sizes,
            rows_path: self.outputs.rows.path().to_owned(),
            is_stored,
            brief_lines: self.brief_lines,
        }
    }

    /// Brings a batch to disk.
    fn store(&mut self, batch: &BatchDone) {
        let rows: Vec<SinglePromptRow> = batch.answers().map(|a| a.row.clone()).collect();
        let failed: Vec<FailedRequest> = batch.failures().cloned().collect();
        let Outputs {
            rows: rows_file,
            failures,
        } = &mut self.outputs;
        let stored = rows_file
            .append(&rows)
            .and_then(|()| failures.append_failed(batch.context_size, &failed))
            .map_err(|error| format!("{:#}", anyhow::Error::new(error)))
            .and_then(|()| still_there(rows_file.path()));
        if let Err(error) = stored
            && !std::mem::replace(&mut self.cannot_write, true)
        {
            tracing::error!("Results cannot be written any more, the run ends here: {error}");
        }
    }

    fn in_flight(&mut self, n: u32) {
        self.n_in_flight = n;
        self.live.set_in_flight(n);
    }
}

/// A file that was removed takes rows without a word, and nobody will ever read them.
fn still_there(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

impl Observer for Teller {
    fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::WarmUpFailed(failure) => log_lines(&[Line::warning(format!(
                "The first request, which is not measured, failed ({}: {}); the run goes on",
                failure.kind, failure.message
            ))]),
            Event::SizeStarted { context_size } => {
                self.live
                    .set_test(format!("{} tokens", thousands(*context_size)));
                log_lines(&[text::size_started(*context_size)]);
            }
            Event::BatchStarted {
                context_size,
                iteration,
                kind,
                n_prompts,
            } => {
                self.live.set_phase(format!(
                    "iteration {} of {}, {kind}",
                    iteration + 1,
                    self.n_iterations
                ));
                self.live.set_concurrency(*n_prompts);
                self.in_flight(*n_prompts);
                log_lines(&[text::batch_started(
                    *context_size,
                    *iteration,
                    *kind,
                    self.n_repeats,
                    *n_prompts,
                )]);
            }
            Event::Answered {
                ttft,
                input_tokens,
                output_tokens,
            } => {
                if let Some(ttft) = ttft {
                    self.live.ended(*ttft, *input_tokens, *output_tokens);
                }
                self.in_flight(self.n_in_flight.saturating_sub(1));
            }
            Event::Failed => {
                self.live.failed();
                self.in_flight(self.n_in_flight.saturating_sub(1));
            }
            Event::BatchDone(batch) => {
                self.store(batch);
                log_lines(&text::batch_done(batch, self.n_repeats, self.n_prompts));
            }
            Event::IterationDone(rows) => {
                log_lines(text::iteration_done(rows).as_slice());
            }
            Event::SizeSkipped {
                context_size,
                reason,
            } => log_lines(&[text::size_skipped(*context_size, reason)]),
            Event::Doubt(doubt) => log_lines(&[Line::warning(doubt.clone())]),
            Event::SizeDone { context_size, rows } => {
                let figures = SizeFigures::of(*context_size, rows);
                self.sizes.push(*context_size);
                log_lines(&text::size_done(&figures));
                if self.brief {
                    let written = cli::exit::write_stdout(&text::brief_line(&figures));
                    if self.brief_lines.is_ok() {
                        self.brief_lines = written;
                    }
                }
            }
        }
    }

    fn wants_end(&self) -> bool {
        self.cannot_write
    }
}
