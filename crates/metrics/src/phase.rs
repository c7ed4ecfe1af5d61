//! Rows of `phase_metadata_*.csv`: one per measured window.

/// One measured window. Times are Unix seconds, lengths seconds, rates tokens/s.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PhaseRow {
    /// `RAMP_c8`, `RETRY_2`, …
    pub phase_id: String,
    /// Size of the working set in tokens, for `working_set_tester`.
    pub working_set_size: Option<u64>,
    /// Target hit rate in whole percent.
    pub cache_hit_rate: u32,
    /// Context size as given, tokens.
    pub context_size: u64,
    /// Level that was held.
    pub concurrency_level: u32,
    /// Start of the window.
    pub start_time: f64,
    /// End of the drain.
    pub end_time: f64,
    /// `end_time` − `start_time`; no cool-down in it.
    pub duration: f64,
    /// Requests launched, failed and cancelled ones included.
    pub num_requests_launched: u64,
    /// Requests that yielded a sample.
    pub num_requests_completed: u64,
    /// First launch: start of the accounting window. Absent in the originals' files, like all below.
    pub window_start_time: Option<f64>,
    /// Planned length of the window; where it was broken off, how long it lasted.
    pub window_duration: Option<f64>,
    /// Window-accounted input rate; none where the window was broken off.
    pub window_input_tokens_per_sec: Option<f64>,
    /// Window-accounted output rate.
    pub window_output_tokens_per_sec: Option<f64>,
    /// Requests that failed by themselves.
    pub num_requests_failed: Option<u64>,
    /// Requests we cancelled.
    pub num_requests_cancelled: Option<u64>,
    /// Whether the figures say more of the client than they should ([`crate::health`]).
    pub client_limited: Option<bool>,
}

impl PhaseRow {
    /// The `phase_type` column: `SUSTAINED` for a period, `RAMP` if the id contains `RAMP`, else `RETRY`.
    /// Fixed-mode windows are `RETRY` too, and readers rely on it.
    #[must_use]
    pub fn phase_type(&self) -> &'static str {
        phase_type(&self.phase_id)
    }

    /// Whether the window ended before its time, by failures or a stop: its requests are known, a rate of its level
    /// is not, and it joins no mean over windows.
    #[must_use]
    pub fn was_broken_off(&self) -> bool {
        self.window_start_time.is_some() && self.window_input_tokens_per_sec.is_none()
    }

    /// Whether this window belongs to the test.
    #[must_use]
    pub fn is_of_test(
        &self,
        context_size: u64,
        working_set_size: Option<u64>,
        cache_hit_rate: u32,
    ) -> bool {
        self.context_size == context_size
            && self.cache_hit_rate == cache_hit_rate
            && self.working_set_size == working_set_size
    }
}

/// The `phase_type` of a phase id: `SUSTAINED`, `RAMP` or `RETRY`.
#[must_use]
pub fn phase_type(phase_id: &str) -> &'static str {
    if phase_id.starts_with("SUSTAINED") {
        "SUSTAINED"
    } else if phase_id.contains("RAMP") {
        "RAMP"
    } else {
        "RETRY"
    }
}

/// Rows of several files, oldest file first, reduced to the newest of each (context, working set, rate,
/// phase id). A row keeps the place at which its key was first seen.
#[must_use]
pub fn newest_phases(rows: impl IntoIterator<Item = PhaseRow>) -> Vec<PhaseRow> {
    let mut place = std::collections::HashMap::new();
    let mut kept: Vec<PhaseRow> = Vec::new();
    for row in rows {
        let key = (
            row.context_size,
            row.working_set_size,
            row.cache_hit_rate,
            row.phase_id.clone(),
        );
        match place.get(&key) {
            Some(&index) => kept[index] = row,
            None => {
                place.insert(key, kept.len());
                kept.push(row);
            }
        }
    }
    kept
}
