//! Schemas of the summary, phase and period files.
//!
//! Column order is the originals', then the appended columns of
//! this suite. The order of cells in `read` and `write` is the order of `COLUMNS`.

use super::SchemaError;
use super::table::sealed::Cellular;
use super::table::{Cells, Column, Line, MIN_WORKING_SET, WORKING_SET, optional, required};
use crate::period::PeriodRow;
use crate::phase::PhaseRow;
use crate::summary::SummaryRow;

impl Cellular for SummaryRow {
    const TABLE: &'static str = "summary";
    const COLUMNS: &'static [Column] = &[
        required("context_size"),
        WORKING_SET,
        required("cache_hit_rate"),
        optional("model"),
        required("input_tokens_per_sec"),
        required("output_tokens_per_sec"),
        required("avg_ttft"),
        required("median_ttft"),
        required("p95_ttft"),
        required("p99_ttft"),
        required("avg_ttlt"),
        required("median_ttlt"),
        required("p95_ttlt"),
        required("p99_ttlt"),
        required("avg_output_tokens"),
        required("avg_itl"),
        required("median_itl"),
        required("p95_itl"),
        required("p99_itl"),
        required("peak_concurrency"),
        required("total_requests"),
        required("test_duration"),
        MIN_WORKING_SET,
        optional("window_input_tokens_per_sec"),
        optional("window_output_tokens_per_sec"),
        optional("measured_duration"),
        optional("total_input_tokens"),
        optional("total_output_tokens"),
        optional("reported_cache_hit_rate"),
        optional("avg_ttft_from_intended"),
        optional("median_ttft_from_intended"),
        optional("p95_ttft_from_intended"),
        optional("p99_ttft_from_intended"),
        optional("client_limited"),
    ];

    fn read(cells: &mut Cells<'_>) -> Result<Self, SchemaError> {
        Ok(Self {
            context_size: cells.int("context_size")?,
            working_set_size: cells.opt_int("working_set_size")?,
            cache_hit_rate: cells.small_int("cache_hit_rate")?,
            model: cells.opt_text("model"),
            input_tokens_per_sec: cells.float("input_tokens_per_sec")?,
            output_tokens_per_sec: cells.float("output_tokens_per_sec")?,
            avg_ttft: cells.latency("avg_ttft")?,
            median_ttft: cells.latency("median_ttft")?,
            p95_ttft: cells.latency("p95_ttft")?,
            p99_ttft: cells.latency("p99_ttft")?,
            avg_ttlt: cells.latency("avg_ttlt")?,
            median_ttlt: cells.latency("median_ttlt")?,
            p95_ttlt: cells.latency("p95_ttlt")?,
            p99_ttlt: cells.latency("p99_ttlt")?,
            avg_output_tokens: cells.latency("avg_output_tokens")?,
            avg_itl: cells.latency("avg_itl")?,
            median_itl: cells.latency("median_itl")?,
            p95_itl: cells.latency("p95_itl")?,
            p99_itl: cells.latency("p99_itl")?,
            peak_concurrency: cells.small_int("peak_concurrency")?,
            total_requests: cells.int("total_requests")?,
            test_duration: cells.float("test_duration")?,
            min_working_set_size: cells.opt_int("min_working_set_size")?,
            window_input_tokens_per_sec: cells.opt_float("window_input_tokens_per_sec")?,
            window_output_tokens_per_sec: cells.opt_float("window_output_tokens_per_sec")?,
            measured_duration: cells.opt_float("measured_duration")?,
            total_input_tokens: cells.opt_int("total_input_tokens")?,
            total_output_tokens: cells.opt_int("total_output_tokens")?,
            reported_cache_hit_rate: cells.opt_float("reported_cache_hit_rate")?,
            avg_ttft_from_intended: cells.latency("avg_ttft_from_intended")?,
            median_ttft_from_intended: cells.latency("median_ttft_from_intended")?,
            p95_ttft_from_intended: cells.latency("p95_ttft_from_intended")?,
            p99_ttft_from_intended: cells.latency("p99_ttft_from_intended")?,
            client_limited: cells.opt_bool("client_limited")?,
        })
    }

    fn write(&self, line: &mut Line<'_>) -> Result<(), SchemaError> {
        line.int("context_size", self.context_size);
        line.opt_int("working_set_size", self.working_set_size);
        line.int("cache_hit_rate", self.cache_hit_rate);
        line.text("model", self.model.as_deref().unwrap_or_default());
        line.float("input_tokens_per_sec", self.input_tokens_per_sec)?;
        line.float("output_tokens_per_sec", self.output_tokens_per_sec)?;
        line.opt_float("avg_ttft", self.avg_ttft);
        line.opt_float("median_ttft", self.median_ttft);
        line.opt_float("p95_ttft", self.p95_ttft);
        line.opt_float("p99_ttft", self.p99_ttft);
        line.opt_float("avg_ttlt", self.avg_ttlt);
        line.opt_float("median_ttlt", self.median_ttlt);
        line.opt_float("p95_ttlt", self.p95_ttlt);
        line.opt_float("p99_ttlt", self.p99_ttlt);
        line.opt_float("avg_output_tokens", self.avg_output_tokens);
        line.opt_float("avg_itl", self.avg_itl);
        line.opt_float("median_itl", self.median_itl);
        line.opt_float("p95_itl", self.p95_itl);
        line.opt_float("p99_itl", self.p99_itl);
        line.int("peak_concurrency", self.peak_concurrency);
        line.int("total_requests", self.total_requests);
        line.float("test_duration", self.test_duration)?;
        line.opt_int("min_working_set_size", self.min_working_set_size);
        line.opt_float(
            "window_input_tokens_per_sec",
            self.window_input_tokens_per_sec,
        );
        line.opt_float(
            "window_output_tokens_per_sec",
            self.window_output_tokens_per_sec,
        );
        line.opt_float("measured_duration", self.measured_duration);
        line.opt_int("total_input_tokens", self.total_input_tokens);
        line.opt_int("total_output_tokens", self.total_output_tokens);
        line.opt_float("reported_cache_hit_rate", self.reported_cache_hit_rate);
        line.opt_float("avg_ttft_from_intended", self.avg_ttft_from_intended);
        line.opt_float("median_ttft_from_intended", self.median_ttft_from_intended);
        line.opt_float("p95_ttft_from_intended", self.p95_ttft_from_intended);
        line.opt_float("p99_ttft_from_intended", self.p99_ttft_from_intended);
        line.opt_bool("client_limited", self.client_limited);
        Ok(())
    }
}

impl Cellular for PhaseRow {
    const TABLE: &'static str = "phase metadata";
    const COLUMNS: &'static [Column] = &[
        optional("phase_type"),
        required("phase_id"),
        WORKING_SET,
        required("cache_hit_rate"),
        required("context_size"),
        required("concurrency_level"),
        required("start_time"),
        required("end_time"),
        required("duration"),
        required("num_requests_launched"),
        required("num_requests_completed"),
        optional("window_start_time"),
        optional("window_duration"),
        optional("window_input_tokens_per_sec"),
        optional("window_output_tokens_per_sec"),
        optional("num_requests_failed"),
        optional("num_requests_cancelled"),
        optional("client_limited"),
    ];

    fn read(cells: &mut Cells<'_>) -> Result<Self, SchemaError> {
        // Follows from the id, in every version.
        cells.skip("phase_type");
        Ok(Self {
            phase_id: cells.text("phase_id"),
            working_set_size: cells.opt_int("working_set_size")?,
            cache_hit_rate: cells.small_int("cache_hit_rate")?,
            context_size: cells.int("context_size")?,
            concurrency_level: cells.small_int("concurrency_level")?,
            start_time: cells.float("start_time")?,
            end_time: cells.float("end_time")?,
            duration: cells.float("duration")?,
            num_requests_launched: cells.int("num_requests_launched")?,
            num_requests_completed: cells.int("num_requests_completed")?,
            window_start_time: cells.opt_float("window_start_time")?,
            window_duration: cells.opt_float("window_duration")?,
            window_input_tokens_per_sec: cells.opt_float("window_input_tokens_per_sec")?,
            window_output_tokens_per_sec: cells.opt_float("window_output_tokens_per_sec")?,
            num_requests_failed: cells.opt_int("num_requests_failed")?,
            num_requests_cancelled: cells.opt_int("num_requests_cancelled")?,
            client_limited: cells.opt_bool("client_limited")?,
        })
    }

    fn write(&self, line: &mut Line<'_>) -> Result<(), SchemaError> {
        line.text("phase_type", self.phase_type());
        line.text("phase_id", &self.phase_id);
        line.opt_int("working_set_size", self.working_set_size);
        line.int("cache_hit_rate", self.cache_hit_rate);
        line.int("context_size", self.context_size);
        line.int("concurrency_level", self.concurrency_level);
        line.float("start_time", self.start_time)?;
        line.float("end_time", self.end_time)?;
        line.float("duration", self.duration)?;
        line.int("num_requests_launched", self.num_requests_launched);
        line.int("num_requests_completed", self.num_requests_completed);
        line.opt_float("window_start_time", self.window_start_time);
        line.opt_float("window_duration", self.window_duration);
        line.opt_float(
            "window_input_tokens_per_sec",
            self.window_input_tokens_per_sec,
        );
        line.opt_float(
            "window_output_tokens_per_sec",
            self.window_output_tokens_per_sec,
        );
        line.opt_int("num_requests_failed", self.num_requests_failed);
        line.opt_int("num_requests_cancelled", self.num_requests_cancelled);
        line.opt_bool("client_limited", self.client_limited);
        Ok(())
    }
}

impl Cellular for PeriodRow {
    const TABLE: &'static str = "sustained periods";
    const COLUMNS: &'static [Column] = &[
        required("period_number"),
        required("context_size"),
        required("cache_hit_rate"),
        WORKING_SET,
        required("start_time"),
        required("end_time"),
        required("duration"),
        required("concurrency_level"),
        required("num_requests_launched"),
        required("num_requests_completed"),
        required("total_input_tokens"),
        required("total_output_tokens"),
        required("input_tokens_per_sec"),
        required("output_tokens_per_sec"),
        required("avg_ttft"),
        required("median_ttft"),
        required("p95_ttft"),
        required("p99_ttft"),
        required("avg_ttlt"),
        required("median_ttlt"),
        required("p95_ttlt"),
        required("p99_ttlt"),
        required("avg_itl"),
        required("median_itl"),
        required("p95_itl"),
        required("p99_itl"),
        required("avg_output_tokens_per_request"),
        required("measured_ttft"),
        required("decision"),
        required("next_concurrency"),
        optional("client_limited"),
        optional("avg_ttft_from_intended"),
        optional("median_ttft_from_intended"),
        optional("p95_ttft_from_intended"),
        optional("p99_ttft_from_intended"),
    ];

    fn read(cells: &mut Cells<'_>) -> Result<Self, SchemaError> {
        Ok(Self {
            period_number: cells.int("period_number")?,
            context_size: cells.int("context_size")?,
            cache_hit_rate: cells.small_int("cache_hit_rate")?,
            working_set_size: cells.opt_int("working_set_size")?,
            start_time: cells.float("start_time")?,
            end_time: cells.float("end_time")?,
            duration: cells.float("duration")?,
            concurrency_level: cells.small_int("concurrency_level")?,
            num_requests_launched: cells.int("num_requests_launched")?,
            num_requests_completed: cells.int("num_requests_completed")?,
            total_input_tokens: cells.int("total_input_tokens")?,
            total_output_tokens: cells.int("total_output_tokens")?,
            input_tokens_per_sec: cells.float("input_tokens_per_sec")?,
            output_tokens_per_sec: cells.float("output_tokens_per_sec")?,
            avg_ttft: cells.latency("avg_ttft")?,
            median_ttft: cells.latency("median_ttft")?,
            p95_ttft: cells.latency("p95_ttft")?,
            p99_ttft: cells.latency("p99_ttft")?,
            avg_ttlt: cells.latency("avg_ttlt")?,
            median_ttlt: cells.latency("median_ttlt")?,
            p95_ttlt: cells.latency("p95_ttlt")?,
            p99_ttlt: cells.latency("p99_ttlt")?,
            avg_itl: cells.latency("avg_itl")?,
            median_itl: cells.latency("median_itl")?,
            p95_itl: cells.latency("p95_itl")?,
            p99_itl: cells.latency("p99_itl")?,
            avg_output_tokens_per_request: cells.latency("avg_output_tokens_per_request")?,
            measured_ttft: cells.latency("measured_ttft")?,
            decision: cells.text("decision"),
            next_concurrency: cells.small_int("next_concurrency")?,
            client_limited: cells.opt_bool("client_limited")?,
            avg_ttft_from_intended: cells.latency("avg_ttft_from_intended")?,
            median_ttft_from_intended: cells.latency("median_ttft_from_intended")?,
            p95_ttft_from_intended: cells.latency("p95_ttft_from_intended")?,
            p99_ttft_from_intended: cells.latency("p99_ttft_from_intended")?,
        })
    }

    fn write(&self, line: &mut Line<'_>) -> Result<(), SchemaError> {
        line.int("period_number", self.period_number);
        line.int("context_size", self.context_size);
        line.int("cache_hit_rate", self.cache_hit_rate);
        line.opt_int("working_set_size", self.working_set_size);
        line.float("start_time", self.start_time)?;
        line.float("end_time", self.end_time)?;
        line.float("duration", self.duration)?;
        line.int("concurrency_level", self.concurrency_level);
        line.int("num_requests_launched", self.num_requests_launched);
        line.int("num_requests_completed", self.num_requests_completed);
        line.int("total_input_tokens", self.total_input_tokens);
        line.int("total_output_tokens", self.total_output_tokens);
        line.float("input_tokens_per_sec", self.input_tokens_per_sec)?;
        line.float("output_tokens_per_sec", self.output_tokens_per_sec)?;
        line.opt_float("avg_ttft", self.avg_ttft);
        line.opt_float("median_ttft", self.median_ttft);
        line.opt_float("p95_ttft", self.p95_ttft);
        line.opt_float("p99_ttft", self.p99_ttft);
        line.opt_float("avg_ttlt", self.avg_ttlt);
        line.opt_float("median_ttlt", self.median_ttlt);
        line.opt_float("p95_ttlt", self.p95_ttlt);
        line.opt_float("p99_ttlt", self.p99_ttlt);
        line.opt_float("avg_itl", self.avg_itl);
        line.opt_float("median_itl", self.median_itl);
        line.opt_float("p95_itl", self.p95_itl);
        line.opt_float("p99_itl", self.p99_itl);
        line.opt_float(
            "avg_output_tokens_per_request",
            self.avg_output_tokens_per_request,
        );
        line.opt_float("measured_ttft", self.measured_ttft);
        line.text("decision", &self.decision);
        line.int("next_concurrency", self.next_concurrency);
        line.opt_bool("client_limited", self.client_limited);
        line.opt_float("avg_ttft_from_intended", self.avg_ttft_from_intended);
        line.opt_float("median_ttft_from_intended", self.median_ttft_from_intended);
        line.opt_float("p95_ttft_from_intended", self.p95_ttft_from_intended);
        line.opt_float("p99_ttft_from_intended", self.p99_ttft_from_intended);
        Ok(())
    }
}
