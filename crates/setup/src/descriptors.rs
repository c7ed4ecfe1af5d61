//! Room for the sockets of a run.

/// Descriptors beyond one per request in flight: files, standard streams, runtime.
const SPARE_DESCRIPTORS: u64 = 64;

/// Raises the limit on open files, and says when `n_in_flight` requests at once do not fit; `what` is to be
/// lowered then.
pub fn raise_limit(n_in_flight: u64, what: &str) {
    let needed = n_in_flight + SPARE_DESCRIPTORS;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(
            "Up to {n_in_flight} requests in flight are planned, but this process may open only {limit} files; raise the \
             limit (ulimit -n) or lower {what}"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!("The limit on open files could not be raised: {error}"),
    }
}
