//! What the server received and what became of it: the witness for tests and for the curious.
//!
//! Promises: requests are numbered in order of arrival, the newest are kept up to a limit, and the number of
//! those dropped is known. Values of secret-looking headers are never kept.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// One received request. Times are model seconds since the server started.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct ReceivedRequest {
    /// Number in order of arrival, from 0.
    pub seq: u64,
    /// When it arrived.
    pub arrival_s: f64,
    /// The endpoint's path; `in-process` for the library's own API.
    pub path: String,
    /// Its `x-request-id`, if it had one.
    pub request_id: Option<String>,
    /// The model that it named.
    pub model: Option<String>,
    /// Whether it asked for a stream.
    pub stream: bool,
    /// Headers in order; the values of secret-looking ones are replaced.
    pub headers: Vec<(String, String)>,
    /// The beginning of the prompt's text (of the messages' contents); `None` for token ids.
    pub text_prefix: Option<String>,
    /// Length of the whole text in bytes.
    pub text_bytes: Option<u64>,
    /// SHA-256 of the whole text, in hex.
    pub text_sha256: Option<String>,
    /// Tokens of the prompt with the chat template.
    pub prompt_tokens: Option<u64>,
    /// A hash of all prompt token ids, in hex.
    pub prompt_ids_hash: Option<String>,
    /// Output tokens asked for (or the default).
    pub max_tokens: Option<u32>,
    /// Whether the end of sequence was to be ignored.
    pub ignore_eos: bool,
    /// Least output tokens asked for.
    pub min_tokens: u32,
    /// The fault that it met, if any.
    pub fault: Option<String>,
    /// Where it stands.
    pub state: RequestState,
    /// The HTTP status, once it is known.
    pub status: Option<u16>,
    /// Prompt tokens served from the cache.
    pub cached_tokens: Option<u64>,
    /// The same by tier, fastest first.
    pub cached_by_tier: Option<Vec<u64>>,
    /// Tokens generated.
    pub completion_tokens: Option<u64>,
    /// True TTFT in the engine: queue + loads + prefill.
    pub ttft_s: Option<f64>,
    /// Time in the queue.
    pub queue_s: Option<f64>,
    /// Time loading, by tier.
    pub load_s_by_tier: Option<Vec<f64>>,
    /// Time in prefill.
    pub prefill_s: Option<f64>,
    /// When its last token was generated.
    pub done_s: Option<f64>,
    /// How often it was preempted.
    pub preemptions: Option<u32>,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// Taken, not finished.
    Active,
    /// All tokens were generated.
    Done,
    /// Answered with an error.
    Refused,
    /// The client went away first (or a fault ended it).
    Cancelled,
}

impl ReceivedRequest {
    /// A request that has just arrived.
    #[must_use]
    pub fn new(path: &str, arrival: Duration) -> Self {
        Self {
            seq: 0,
            arrival_s: arrival.as_secs_f64(),
            path: path.to_owned(),
            request_id: None,
            model: None,
            stream: false,
            headers: Vec::new(),
            text_prefix: None,
            text_bytes: None,
            text_sha256: None,
            prompt_tokens: None,
            prompt_ids_hash: None,
            max_tokens: None,
            ignore_eos: false,
            min_tokens: 0,
            fault: None,
            state: RequestState::Active,
            status: None,
            cached_tokens: None,
            cached_by_tier: None,
            completion_tokens: None,
            ttft_s: None,
            queue_s: None,
            load_s_by_tier: None,
            prefill_s: None,
            done_s: None,
            preemptions: None,
        }
    }
}

/// The newest requests.
#[derive(Debug)]
pub(crate) struct RecordRing {
    limit: usize,
    records: VecDeque<ReceivedRequest>,
    next_seq: u64,
}

impl RecordRing {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            records: VecDeque::new(),
            next_seq: 0,
        }
    }

    /// Adds a record and gives it its number.
    pub(crate) fn push(&mut self, mut record: ReceivedRequest) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        record.seq = seq;
        if self.limit > 0 {
            if self.records.len() == self.limit {
                self.records.pop_front();
            }
            self.records.push_back(record);
        }
        seq
    }

    /// Changes a record, if it is still kept.
    pub(crate) fn update(&mut self, seq: u64, change: impl FnOnce(&mut ReceivedRequest)) {
        let first = self.next_seq - self.records.len() as u64;
        let index = seq
            .checked_sub(first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(record) = index.and_then(|index| self.records.get_mut(index)) {
            change(record);
        }
    }

    /// Requests received in all.
    pub(crate) fn total(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ReceivedRequest> {
        self.records.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_and_finds_them_by_number() {
        let mut ring = RecordRing::new(3);
        for n in 0..5 {
            let seq = ring.push(ReceivedRequest::new(&format!("/{n}"), Duration::ZERO));
            assert_eq!(seq, n);
        }
        ring.update(1, |record| record.status = Some(500));
        ring.update(3, |record| record.status = Some(200));
        let kept: Vec<_> = ring
            .iter()
            .map(|r| (r.seq, r.path.as_str(), r.status))
            .collect();
        assert_eq!(
            kept,
            [(2, "/2", None), (3, "/3", Some(200)), (4, "/4", None)]
        );
        assert_eq!(ring.total(), 5);
    }
}
