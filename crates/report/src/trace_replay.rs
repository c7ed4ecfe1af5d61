//! Directories of the trace replay tool: recognised, and summed up for the dashboard.
//!
//! Its files have fixed names and columns of their own; nothing in them is about hit rates that were asked for, so
//! they are no input of the other charts. Columns are found by name, and one that a version lacks is unknown.
//! Refuses to draw: that tool's charts are its own.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use metrics::percentile::Stats;
use metrics::schema::SchemaError;
use serde_json::{Map, Value};

use crate::atomic::read_regular;
use crate::data::DataWarning;
use crate::data::open::for_each_row;
use crate::stamp::StampedFile;

/// One row per assessment period; the file a directory is recognised by.
pub const TRACE_SUMMARY: &str = "summary_trace_replay.csv";
/// One row per request.
pub(crate) const TRACE_DETAILS: &str = "detailed_results.csv";
/// One row per event of a user.
const TRACE_USERS: &str = "user_lifecycle.csv";

/// A larger file of requests is not read for a page.
const MOST_DETAIL_BYTES: u64 = 256 * 1024 * 1024;

/// What a run of the trace replay tool amounts to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TraceReplay {
    /// Settings of the run.
    pub parameters: Map<String, Value>,
    /// Whether the run went to its end, where the files say so.
    pub completed: Option<bool>,
    /// What the traces hold.
    pub stats: Map<String, Value>,
    /// Assessment periods in order.
    pub periods: Vec<TracePeriod>,
    /// Requests that were answered, and that failed, where their file was read.
    pub requests: TraceRequests,
    /// TTFT of the answered ones, seconds.
    pub ttft: Stats,
    /// Users that were started.
    pub users_started: u64,
}

/// What became of the file of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TraceRequests {
    /// It was read.
    Read {
        /// Requests that were answered.
        answered: u64,
        /// Requests that failed.
        failed: u64,
    },
    /// There is none.
    #[default]
    Absent,
    /// It is too large to be read for a page.
    TooLarge,
    /// It could not be read, or lacks a column.
    Unreadable,
}

/// One assessment period; what its file does not say is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TracePeriod {
    /// Length, seconds.
    pub length: f64,
    /// Users at its end, those that a limit held back included.
    pub users: Option<f64>,
    /// Requests completed in it.
    pub completed: Option<f64>,
    /// Input tokens/s.
    pub input_tps: Option<f64>,
    /// Output tokens/s.
    pub output_tps: Option<f64>,
    /// Share of blocks seen before, by the tool's own model, 0 to 1.
    pub hit_rate: Option<f64>,
    /// Share that an endless cache would have served, 0 to 1.
    pub expected_hit_rate: Option<f64>,
    /// Share that the server reported, 0 to 1.
    pub reported_hit_rate: Option<f64>,
    /// Blocks in use.
    pub working_set_blocks: Option<f64>,
    /// Requests within all objectives, percent.
    pub goodput: Option<f64>,
    /// The same with the time in the queue, percent.
    pub effective_goodput: Option<f64>,
}

impl TraceReplay {
    /// Reads what there is.
    pub(crate) fn read(dir: &Path, warnings: &mut Vec<DataWarning>) -> Self {
        let mut run = Self::default();
        if let Some(mut progress) = object(dir, crate::progress::PROGRESS_FILE, warnings) {
            run.completed = progress.get("completed").and_then(Value::as_bool);
            if let Some(Value::Object(parameters)) = progress.remove("parameters") {
                run.parameters = parameters;
            }
        }
        if let Some(mut metadata) = object(dir, crate::metadata::METADATA_FILE, warnings)
            && let Some(Value::Object(stats)) = metadata.remove("trace_stats")
        {
            run.stats = stats;
        }
        let file = |name: &str| StampedFile::of(dir.join(name));
        for_each_row(&file(TRACE_SUMMARY), warnings, periods, |period| {
            run.periods.push(period);
        });
        run.read_requests(&file(TRACE_DETAILS), warnings);
        let users = file(TRACE_USERS);
        if users.path.is_file() {
            for_each_row(&users, warnings, starts, |is_start: bool| {
                run.users_started += u64::from(is_start);
            });
        }
        run
    }

    fn read_requests(&mut self, details: &StampedFile, warnings: &mut Vec<DataWarning>) {
        self.requests = match std::fs::metadata(&details.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Ok(found) if found.len() > MOST_DETAIL_BYTES => TraceRequests::TooLarge,
            _ => {
                let (mut answered, mut failed, mut ttfts) = (0, 0, Vec::new());
                let was_read = for_each_row(details, warnings, requests, |request| match request {
                    Request::Answered { ttft } => {
                        answered += 1;
                        ttfts.extend(ttft);
                    }
                    Request::Failed => failed += 1,
                });
                self.ttft = Stats::of(ttfts);
                match was_read {
                    true => TraceRequests::Read { answered, failed },
                    false => TraceRequests::Unreadable,
                }
            }
        };
    }

    /// Mean of a figure over the periods that have it, each with a weight.
    #[must_use]
    pub fn mean(
        &self,
        figure: fn(&TracePeriod) -> Option<f64>,
        weight: fn(&TracePeriod) -> Option<f64>,
    ) -> Option<f64> {
        let known = self.periods.iter().filter_map(|p| figure(p).zip(weight(p)));
        let (sum, weights) = known.fold((0.0, 0.0), |(sum, weights), (value, weight)| {
            (sum + value * weight, weights + weight)
        });
        (weights > 0.0).then(|| sum / weights)
    }

    /// Highest value of a figure.
    #[must_use]
    pub fn highest(&self, figure: fn(&TracePeriod) -> Option<f64>) -> Option<f64> {
        self.periods.iter().filter_map(figure).reduce(f64::max)
    }
}

/// A JSON object; a file that holds none is a warning, an absent one is nothing.
fn object(dir: &Path, name: &str, warnings: &mut Vec<DataWarning>) -> Option<Map<String, Value>> {
    let bytes = match read_regular(&dir.join(name)) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return None,
        Err(error) => {
            warnings.push(DataWarning::of_error(name, &error));
            return None;
        }
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Some(map),
        Ok(_) => {
            warnings.push(DataWarning::new(name, "does not hold a JSON object"));
            None
        }
        Err(error) => {
            warnings.push(DataWarning::of_error(name, &error));
            None
        }
    }
}

type Rows<T> = Box<dyn Iterator<Item = Result<T, SchemaError>>>;

/// A CSV file row by row, each as `of` sees its cells. The columns of `needed` must be there.
fn rows<T: 'static>(
    input: BufReader<File>,
    needed: &[&'static str],
    of: impl Fn(&dyn Fn(&str) -> Option<String>) -> T + 'static,
) -> Result<Rows<T>, SchemaError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let header = reader.headers()?.clone();
    if header.is_empty() {
        return Err(SchemaError::Empty);
    }
    let place = move |name: &str| header.iter().position(|cell| cell.trim() == name);
    for &column in needed {
        if place(column).is_none() {
            return Err(SchemaError::MissingColumn {
                column,
                table: "trace replay",
            });
        }
    }
    Ok(Box::new(reader.into_records().map(move |record| {
        let record = record?;
        let cell = |name: &str| {
            let text = record.get(place(name)?)?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        Ok(of(&cell))
    })))
}

fn number(text: Option<String>) -> Option<f64> {
    text?.parse().ok().filter(|v: &f64| v.is_finite())
}

fn periods(input: BufReader<File>) -> Result<Rows<TracePeriod>, SchemaError> {
    rows(input, &["start_time", "end_time"], |cell| {
        let figure = |name: &str| number(cell(name));
        let span = figure("end_time").zip(figure("start_time"));
        let users: Vec<f64> = ["active_users", "idle_users", "rate_limited_users"]
            .into_iter()
            .filter_map(figure)
            .collect();
        TracePeriod {
            length: span.map_or(0.0, |(end, start)| (end - start).max(0.0)),
            users: (!users.is_empty()).then(|| users.iter().sum()),
            completed: figure("requests_completed"),
            input_tps: figure("input_tokens_per_second"),
            output_tps: figure("output_tokens_per_second"),
            hit_rate: figure("avg_cache_hit_rate"),
            expected_hit_rate: figure("expected_cache_hit_rate"),
            reported_hit_rate: figure("reported_cache_hit_rate"),
            working_set_blocks: figure("working_set_blocks"),
            goodput: figure("goodput_pct"),
            effective_goodput: figure("goodput_effective_pct"),
        }
    })
}

enum Request {
    Answered { ttft: Option<f64> },
    Failed,
}

fn requests(input: BufReader<File>) -> Result<Rows<Request>, SchemaError> {
    rows(input, &["ttft", "success"], |cell| {
        match cell("success").as_deref() {
            Some("True" | "true") => Request::Answered {
                // The original writes 0 for an answer without a token.
                ttft: number(cell("ttft")).filter(|v| *v > 0.0),
            },
            _ => Request::Failed,
        }
    })
}

fn starts(input: BufReader<File>) -> Result<Rows<bool>, SchemaError> {
    rows(input, &["event_type"], |cell| {
        cell("event_type").as_deref() == Some("started")
    })
}
