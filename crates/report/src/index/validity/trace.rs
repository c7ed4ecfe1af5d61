//! Doubts about a run of the trace replay tool.

use super::super::figure::plural;
use super::{Finding, finding};
use crate::chart::count;
use crate::trace_replay::{TRACE_DETAILS, TraceReplay, TraceRequests};

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
    let unread = match trace.requests {
        TraceRequests::Read { answered, failed } => {
            if failed > 0 {
                let all = plural(answered.saturating_add(failed), "request", "requests");
                out.push(finding(
                    format!("{} of {all} failed.", count(failed)),
                    "Failed requests are in no figure.",
                ));
            }
            return;
        }
        TraceRequests::Absent => "is not there",
        TraceRequests::TooLarge => "is larger than 256 MiB",
        TraceRequests::Unreadable => "cannot be used",
    };
    out.push(finding(
        format!("{TRACE_DETAILS} {unread}: requests were not read."),
        "How many failed is unknown, and so are the times to first token.",
    ));
}

/// What was looked at.
pub(super) fn checked(trace: Option<&TraceReplay>) -> &'static str {
    match trace.map(|trace| trace.requests) {
        Some(TraceRequests::Read { .. }) => "Checked: readable files, failed requests.",
        _ => "Checked: readable files. Not in these files, so not checked: failed requests.",
    }
}
