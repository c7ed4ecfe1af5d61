//! Schema of `single_prompt_results_*.csv`: the originals' nine columns, then ours.

use super::SchemaError;
use super::table::sealed::Cellular;
use super::table::{Cells, Column, Line, optional, required};
use crate::single_prompt::SinglePromptRow;

/// Words of `token_counts`: who counted.
const COUNTERS: [&str; 2] = ["server", "local"];
/// Words of `matches_cold_text`.
const ANSWERS: [&str; 2] = ["no", "yes"];

impl Cellular for SinglePromptRow {
    const TABLE: &'static str = "single prompt results";
    const COLUMNS: &'static [Column] = &[
        required("context_size"),
        required("iteration"),
        required("prompt_type"),
        required("prompt_tokens"),
        required("completion_tokens"),
        required("ttft"),
        required("generation_time"),
        required("total_time"),
        required("output_tokens_per_sec"),
        optional("reported_cached_tokens"),
        optional("prompt_index"),
        optional("token_counts"),
        optional("matches_cold_text"),
        optional("send_delay"),
        optional("dial_time"),
    ];

    fn read(cells: &mut Cells<'_>) -> Result<Self, SchemaError> {
        Ok(Self {
            context_size: cells.int("context_size")?,
            iteration: cells.int("iteration")?,
            prompt_type: cells.text("prompt_type"),
            prompt_tokens: cells.int("prompt_tokens")?,
            completion_tokens: cells.int("completion_tokens")?,
            ttft: cells.latency("ttft")?,
            generation_time: cells.opt_float("generation_time")?,
            total_time: cells.latency("total_time")?,
            output_tokens_per_sec: cells.latency("output_tokens_per_sec")?,
            reported_cached_tokens: cells.opt_int("reported_cached_tokens")?,
            prompt_index: cells.opt_int("prompt_index")?,
            counted_locally: cells.one_of("token_counts", COUNTERS, "server or local")?,
            matches_cold_text: cells.one_of("matches_cold_text", ANSWERS, "yes or no")?,
            send_delay: cells.opt_float("send_delay")?,
            dial_time: cells.opt_float("dial_time")?,
        })
    }

    fn write(&self, line: &mut Line<'_>) -> Result<(), SchemaError> {
        let word = |words: [&'static str; 2], second: Option<bool>| {
            second.map_or("", |second| words[usize::from(second)])
        };
        line.int("context_size", self.context_size);
        line.int("iteration", self.iteration);
        line.text("prompt_type", &self.prompt_type);
        line.int("prompt_tokens", self.prompt_tokens);
        line.int("completion_tokens", self.completion_tokens);
        line.opt_float("ttft", self.ttft);
        line.opt_float("generation_time", self.generation_time);
        line.opt_float("total_time", self.total_time);
        line.opt_float("output_tokens_per_sec", self.output_tokens_per_sec);
        line.opt_int("reported_cached_tokens", self.reported_cached_tokens);
        line.opt_int("prompt_index", self.prompt_index);
        line.text("token_counts", word(COUNTERS, self.counted_locally));
        line.text("matches_cold_text", word(ANSWERS, self.matches_cold_text));
        line.opt_float("send_delay", self.send_delay);
        line.opt_float("dial_time", self.dial_time);
        Ok(())
    }
}
