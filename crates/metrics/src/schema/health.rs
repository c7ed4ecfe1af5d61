//! Schema of the client's own file.

use super::SchemaError;
use super::table::sealed::Cellular;
use super::table::{Cells, Column, Line, WORKING_SET, optional, required};
use crate::health::HealthRow;

impl Cellular for HealthRow {
    const TABLE: &'static str = "client health";
    const COLUMNS: &'static [Column] = &[
        required("phase_id"),
        WORKING_SET,
        required("cache_hit_rate"),
        required("context_size"),
        required("concurrency_level"),
        required("duration"),
        required("lag_p50"),
        required("lag_p99"),
        required("lag_max"),
        required("send_delay_p99"),
        required("cpu_share"),
        required("achieved_in_flight"),
        required("in_flight"),
        required("missing_load_share"),
        required("ttft_error_p50"),
        required("ttft_error_p99"),
        required("itl_error_p50"),
        required("itl_error_p99"),
        required("calibrated_level"),
        required("client_limited"),
        required("limited_by"),
        optional("calibrated_requests"),
        optional("calibrated_over"),
        optional("median_ttft"),
        optional("p95_ttft"),
        optional("median_itl"),
        optional("p95_itl"),
    ];

    fn read(cells: &mut Cells<'_>) -> Result<Self, SchemaError> {
        Ok(Self {
            phase_id: cells.text("phase_id"),
            working_set_size: cells.opt_int("working_set_size")?,
            cache_hit_rate: cells.small_int("cache_hit_rate")?,
            context_size: cells.int("context_size")?,
            concurrency_level: cells.small_int("concurrency_level")?,
            duration: cells.float("duration")?,
            lag_p50: cells.opt_float("lag_p50")?,
            lag_p99: cells.opt_float("lag_p99")?,
            lag_max: cells.opt_float("lag_max")?,
            send_delay_p99: cells.opt_float("send_delay_p99")?,
            cpu_share: cells.opt_float("cpu_share")?,
            achieved_in_flight: cells.opt_float("achieved_in_flight")?,
            in_flight: cells.list("in_flight", |word| word.trim().parse().ok())?,
            missing_load_share: cells.opt_float("missing_load_share")?,
            ttft_error_p50: cells.opt_float("ttft_error_p50")?,
            ttft_error_p99: cells.opt_float("ttft_error_p99")?,
            itl_error_p50: cells.opt_float("itl_error_p50")?,
            itl_error_p99: cells.opt_float("itl_error_p99")?,
            calibrated_level: cells.opt_int("calibrated_level")?,
            client_limited: cells.opt_bool("client_limited")?,
            limited_by: cells.text("limited_by"),
            calibrated_requests: cells.opt_int("calibrated_requests")?,
            calibrated_over: cells.text("calibrated_over"),
            median_ttft: cells.opt_float("median_ttft")?,
            p95_ttft: cells.opt_float("p95_ttft")?,
            median_itl: cells.opt_float("median_itl")?,
            p95_itl: cells.opt_float("p95_itl")?,
        })
    }

    fn write(&self, line: &mut Line<'_>) -> Result<(), SchemaError> {
        line.text("phase_id", &self.phase_id);
        line.opt_int("working_set_size", self.working_set_size);
        line.int("cache_hit_rate", self.cache_hit_rate);
        line.int("context_size", self.context_size);
        line.int("concurrency_level", self.concurrency_level);
        line.float("duration", self.duration)?;
        line.opt_float("lag_p50", self.lag_p50);
        line.opt_float("lag_p99", self.lag_p99);
        line.opt_float("lag_max", self.lag_max);
        line.opt_float("send_delay_p99", self.send_delay_p99);
        line.opt_float("cpu_share", self.cpu_share);
        line.opt_float("achieved_in_flight", self.achieved_in_flight);
        line.float_list("in_flight", &self.in_flight);
        line.opt_float("missing_load_share", self.missing_load_share);
        line.opt_float("ttft_error_p50", self.ttft_error_p50);
        line.opt_float("ttft_error_p99", self.ttft_error_p99);
        line.opt_float("itl_error_p50", self.itl_error_p50);
        line.opt_float("itl_error_p99", self.itl_error_p99);
        line.opt_int("calibrated_level", self.calibrated_level);
        line.opt_bool("client_limited", self.client_limited);
        line.text("limited_by", &self.limited_by);
        line.opt_int("calibrated_requests", self.calibrated_requests);
        line.text("calibrated_over", &self.calibrated_over);
        line.opt_float("median_ttft", self.median_ttft);
        line.opt_float("p95_ttft", self.p95_ttft);
        line.opt_float("median_itl", self.median_itl);
        line.opt_float("p95_itl", self.p95_itl);
        Ok(())
    }
}
