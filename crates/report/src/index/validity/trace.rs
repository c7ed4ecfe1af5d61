//! Doubts about a run of the trace replay tool.

use super::super::figure::plural;
use super::{Finding, finding};
use crate::chart::count;
use crate::trace_replay::TraceReplay;

pub(super) fn findings(trace: &TraceReplay, out: &mut Vec<Finding>) {
    if trace.completed == Some(false) {
        out.push(finding(
            "The run was not completed.".to_owned(),
            "It was interrupted, or is still going on; later periods are missing.",
        ));
    }
    if trace.periods.is_empty() {
        out.push(finding(
            "No assessment period was found.".to_owned(),
            "There is nothing to judge.",
        ));
    }
    if let Some((answered, failed)) = trace.requests
        && failed > 0
    {
        out.push(finding(
            format!(
                "{} of {} failed.",
                count(failed),
                plural(answered.saturating_add(failed), "request", "requests")
            ),
            "Failed requests are in no figure.",
        ));
    }
}
