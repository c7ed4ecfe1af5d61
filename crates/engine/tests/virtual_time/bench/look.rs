//! What tests look at: requests in the order of their names, requests in flight, and how a set grew.

use engine::event::StudyEvent;
use metrics::RequestRecord;

/// Rows in the order of their launch.
pub(crate) fn records_by_request(records: &[RequestRecord]) -> Vec<RequestRecord> {
    let mut rows = records.to_vec();
    rows.sort_by(|a, b| a.launch_time.total_cmp(&b.launch_time));
    rows
}

/// Most requests outstanding at one instant, by the rows' own times.
pub(crate) fn most_in_flight(records: &[RequestRecord]) -> usize {
    // Ends before starts at the same instant: a replacement is launched when its predecessor has ended.
    let mut events: Vec<(f64, i32)> = records
        .iter()
        .flat_map(|r| [(r.launch_time + 1e-6, 1), (r.finish_time, -1)])
        .collect();
    events.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut now = 0;
    let mut most = 0;
    for (_, change) in events {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap()
}

/// What an event says of growth and coverage, in short.
pub(crate) fn tell_growth(event: &StudyEvent<'_>) -> Option<String> {
    match event {
        StudyEvent::Grown {
            added,
            n_prompts,
            target,
            tokens,
            ..
        } => Some(format!("+{added}: {n_prompts} of {target}, {tokens}")),
        StudyEvent::Extending { sent, needed } => Some(format!("extending {sent}/{needed}")),
        StudyEvent::NotCovered { sent, needed } => Some(format!("not covered {sent}/{needed}")),
        _ => None,
    }
}
