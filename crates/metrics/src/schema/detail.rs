//! Schema of `detailed_results_*.csv`: one row per completed request.
//!
//! The first originals end at `itl` and the originals of the working-set tool never had the lists; both
//! are read. What no column holds comes back empty: question tokens as 0, a missing endpoint as "".

use std::collections::HashMap;
use std::io::{BufRead, Read, Write};
use std::sync::Arc;

use super::SchemaError;
use super::cell::{parse_float, parse_int, render_float, render_int};
use super::strip::WithoutLists;
use super::table::sealed::Cellular;
use super::table::{
    Cells, Column, Line, RowReader, RowWriter, SetColumns, WORKING_SET, optional, required,
};
use crate::record::{RequestIntent, RequestRecord};
use crate::sample::{Sample, SampleParts};

/// Whether the two list columns are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lists {
    /// Parse them; a broken list is a broken row.
    #[default]
    Parse,
    /// Leave both lists empty and do not look at them.
    Skip,
}

impl Cellular for RequestRecord {
    const TABLE: &'static str = "detailed results";
    const COLUMNS: &'static [Column] = &[
        required("request_id"),
        required("phase_id"),
        WORKING_SET,
        required("cache_hit_rate"),
        required("context_size"),
        required("cached_tokens"),
        required("unique_tokens"),
        required("output_tokens"),
        required("ttft"),
        required("ttlt"),
        required("generation_time"),
        required("total_time"),
        required("launch_time"),
        required("finish_time"),
        required("concurrency_level"),
        required("itl"),
        optional("prefill_complete_time"),
        optional("token_timestamps"),
        optional("tokens_per_chunk"),
        optional("reported_prompt_tokens"),
        optional("reported_cached_tokens"),
        optional("send_delay"),
        optional("endpoint"),
        optional("dial_time"),
    ];

    fn read(cells: &mut Cells<'_>) -> Result<Self, SchemaError> {
        read_record(cells, Lists::Parse)
    }

    fn write(&self, line: &mut Line<'_>) -> Result<(), SchemaError> {
        let intent = &self.intent;
        line.text("request_id", &intent.request_id);
        line.text("phase_id", &intent.phase_id);
        line.opt_int("working_set_size", intent.working_set_size);
        line.int("cache_hit_rate", intent.cache_hit_rate);
        line.int("context_size", intent.context_size);
        line.int("cached_tokens", intent.cached_tokens);
        line.int("unique_tokens", intent.unique_tokens);
        line.int("output_tokens", self.output_tokens);
        line.opt_float("ttft", self.ttft);
        line.opt_float("ttlt", self.ttlt);
        line.opt_float("generation_time", self.generation_time);
        line.float("total_time", self.total_time)?;
        line.float("launch_time", self.launch_time)?;
        line.float("finish_time", self.finish_time)?;
        line.int("concurrency_level", intent.concurrency_level);
        line.opt_float("itl", self.itl);
        line.float("prefill_complete_time", self.prefill_complete_time)?;
        line.list("token_timestamps", &self.token_timestamps, render_float);
        line.list("tokens_per_chunk", &self.tokens_per_chunk, render_int);
        line.opt_int("reported_prompt_tokens", self.reported_prompt_tokens);
        line.opt_int("reported_cached_tokens", self.reported_cached_tokens);
        line.opt_float("send_delay", self.send_delay);
        line.text("endpoint", &intent.endpoint);
        line.opt_float("dial_time", self.dial_time);
        Ok(())
    }
}

fn read_record(cells: &mut Cells<'_>, lists: Lists) -> Result<RequestRecord, SchemaError> {
    let request_id = cells.text("request_id");
    let phase_id = Arc::from(cells.text_ref("phase_id"));
    let working_set_size = cells.opt_int("working_set_size")?;
    let cache_hit_rate = cells.small_int("cache_hit_rate")?;
    let context_size = cells.int("context_size")?;
    let cached_tokens = cells.int("cached_tokens")?;
    let unique_tokens = cells.int("unique_tokens")?;
    let output_tokens = cells.int("output_tokens")?;
    let ttft = cells.latency("ttft")?;
    let ttlt = cells.latency("ttlt")?;
    // Without a first token the originals' 0.0 says nothing; with one, 0.0 is a measured time.
    let generation_time = cells
        .opt_float("generation_time")?
        .filter(|t| ttft.is_some() || *t > 0.0);
    let total_time = cells.float("total_time")?;
    let launch_time = cells.float("launch_time")?;
    let finish_time = cells.float("finish_time")?;
    let concurrency_level = cells.small_int("concurrency_level")?;
    let itl = cells.latency("itl")?;
    let prefill_complete_time = cells
        .opt_float("prefill_complete_time")?
        .unwrap_or(launch_time + ttft.unwrap_or(0.0));
    let (token_timestamps, tokens_per_chunk) = match lists {
        Lists::Parse => (
            cells.list("token_timestamps", parse_float)?,
            cells.list("tokens_per_chunk", parse_int)?,
        ),
        Lists::Skip => {
            cells.skip("token_timestamps");
            cells.skip("tokens_per_chunk");
            (Vec::new(), Vec::new())
        }
    };
    Ok(RequestRecord {
        output_tokens,
        ttft,
        ttlt,
        generation_time,
        total_time,
        launch_time,
        finish_time,
        itl,
        prefill_complete_time,
        token_timestamps,
        tokens_per_chunk,
        reported_prompt_tokens: cells.opt_int("reported_prompt_tokens")?,
        reported_cached_tokens: cells.opt_int("reported_cached_tokens")?,
        send_delay: cells.opt_float("send_delay")?,
        intent: RequestIntent {
            request_id,
            phase_id,
            cache_hit_rate,
            context_size,
            cached_tokens,
            unique_tokens,
            question_tokens: 0,
            concurrency_level,
            endpoint: Arc::from(cells.text_ref("endpoint")),
            working_set_size,
        },
        dial_time: cells.opt_float("dial_time")?,
        counted_locally: false,
    })
}

/// Reads `detailed_results_*.csv` row by row; one result per row, and after a broken row the next one.
#[derive(Debug)]
pub struct DetailReader<R> {
    rows: RowReader<R, RequestRecord>,
    lists: Lists,
}

impl<R: Read> DetailReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When there is no header, it lacks a required column, or reading fails.
    pub fn new(input: R, lists: Lists) -> Result<Self, SchemaError> {
        Ok(Self {
            rows: RowReader::new(input)?,
            lists,
        })
    }

    /// Whether the file has this column.
    #[must_use]
    pub fn has_column(&self, name: &str) -> bool {
        self.rows.has_column(name)
    }
}

impl<R: Read> Iterator for DetailReader<R> {
    type Item = Result<RequestRecord, SchemaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let lists = self.lists;
        self.rows.next_with(|cells| read_record(cells, lists))
    }
}

/// One row as charts need it.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRow {
    /// Context size as given, tokens.
    pub context_size: u64,
    /// Size of the working set in tokens, where the file has the column.
    pub working_set_size: Option<u64>,
    /// Target hit rate, whole percent.
    pub cache_hit_rate: u32,
    /// Phase that launched the request; rows of one phase share the text.
    pub phase_id: Arc<str>,
    /// Everything else.
    pub sample: Sample,
}

/// Reads the samples of `detailed_results_*.csv`, several times faster than whole rows and without keeping
/// any of their texts. A row is refused where [`DetailReader`] without lists refuses it, but for its
/// `ttlt`, `total_time`, `itl` and `prefill_complete_time`, which nobody looks at.
#[derive(Debug)]
pub struct SampleReader<R: BufRead> {
    rows: RowReader<WithoutLists<R>, RequestRecord>,
    phases: HashMap<Box<str>, Arc<str>>,
    /// Neighbours mostly belong to the same phase.
    last: Arc<str>,
}

impl<R: BufRead> SampleReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When there is no header, it lacks a required column, or reading fails.
    pub fn new(input: R) -> Result<Self, SchemaError> {
        Ok(Self {
            rows: RowReader::new(WithoutLists::new(input))?,
            phases: HashMap::new(),
            last: Arc::from(""),
        })
    }
}

impl<R: BufRead> Iterator for SampleReader<R> {
    type Item = Result<SampleRow, SchemaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (phases, last) = (&mut self.phases, &mut self.last);
        self.rows.next_with(|cells| {
            cells.skip("request_id");
            let phase_id = cells.text_ref("phase_id");
            if **last != *phase_id {
                *last = match phases.get(phase_id) {
                    Some(known) => Arc::clone(known),
                    None => {
                        let text: Arc<str> = Arc::from(phase_id);
                        phases.insert(Box::from(phase_id), Arc::clone(&text));
                        text
                    }
                };
            }
            let working_set_size = cells.opt_int("working_set_size")?;
            let cache_hit_rate = cells.small_int("cache_hit_rate")?;
            let context_size = cells.int("context_size")?;
            let cached_tokens = cells.int("cached_tokens")?;
            let unique_tokens = cells.int("unique_tokens")?;
            let output_tokens = cells.int("output_tokens")?;
            let ttft = cells.latency("ttft")?;
            cells.skip("ttlt");
            let generation_time = cells.opt_float("generation_time")?;
            cells.skip("total_time");
            let launch_time = cells.float("launch_time")?;
            let finish_time = cells.float("finish_time")?;
            let concurrency_level = cells.small_int("concurrency_level")?;
            for name in [
                "itl",
                "prefill_complete_time",
                "token_timestamps",
                "tokens_per_chunk",
                "reported_prompt_tokens",
            ] {
                cells.skip(name);
            }
            let reported_cached_tokens = cells.opt_int("reported_cached_tokens")?;
            let send_delay = cells.opt_float("send_delay")?;
            Ok(SampleRow {
                context_size,
                working_set_size,
                cache_hit_rate,
                phase_id: Arc::clone(last),
                sample: Sample::from(SampleParts {
                    launch_time,
                    finish_time,
                    ttft,
                    generation_time,
                    send_delay,
                    cached_tokens,
                    unique_tokens,
                    output_tokens,
                    reported_cached_tokens,
                    cache_hit_rate,
                    concurrency_level,
                }),
            })
        })
    }
}

/// Writes `detailed_results_*.csv`. Each call hands whole lines to the writer in one piece.
#[derive(Debug)]
pub struct DetailWriter<W> {
    rows: RowWriter<W, RequestRecord>,
}

impl<W: Write> DetailWriter<W> {
    /// Starts a file without the working-set column: writes the header.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn new(output: W) -> Result<Self, SchemaError> {
        Ok(Self {
            rows: RowWriter::new(output, false)?,
        })
    }

    /// Starts a file with these columns on the working set: writes the header.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn with_columns(output: W, set: impl Into<SetColumns>) -> Result<Self, SchemaError> {
        Ok(Self {
            rows: RowWriter::new(output, set)?,
        })
    }

    /// Goes on with a file that has its header already.
    #[must_use]
    pub fn append(output: W, set: impl Into<SetColumns>) -> Self {
        Self {
            rows: RowWriter::append(output, set),
        }
    }

    /// Writes one request.
    ///
    /// # Errors
    /// When a required number is not finite, then nothing is written; or when the writer fails.
    pub fn write(&mut self, record: &RequestRecord) -> Result<(), SchemaError> {
        self.rows.write(record)
    }

    /// Writes requests in one piece.
    ///
    /// # Errors
    /// When a required number is not finite, then nothing is written; or when the writer fails.
    pub fn write_all(&mut self, records: &[RequestRecord]) -> Result<(), SchemaError> {
        self.rows.write_all(records)
    }

    /// Flushes the writer.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn flush(&mut self) -> Result<(), SchemaError> {
        self.rows.flush()
    }

    /// The writer underneath.
    pub fn get_mut(&mut self) -> &mut W {
        self.rows.get_mut()
    }

    /// Gives the writer back.
    pub fn into_inner(self) -> W {
        self.rows.into_inner()
    }
}
