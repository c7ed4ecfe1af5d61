//! Room for the sockets of a run, and for those of the calibration behind it.
//!
//! Promise: too little room is said before the first request, with what to do; it ends no run. A level for whose
//! calibration there is none is left out of that, and has no error rather than another's.

use cli::options::Calibrate;
use core_client::null_server::calibration::{SPARE_DESCRIPTORS, descriptors};

/// Raises the limit on open files, and says when `n_in_flight` requests at once do not fit, or when they do and their
/// calibration, whose server is in this process too, does not; `what` is to be lowered then.
pub fn raise_limit(n_in_flight: u32, what: &str, calibrate: Calibrate) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => {
            if let Some(line) = too_few(n_in_flight, what, calibrate, limit) {
                tracing::warn!("{line}");
            }
        }
        Err(error) => tracing::warn!("The limit on open files could not be raised: {error}"),
    }
}

/// What does not fit into `limit`.
fn too_few(n_in_flight: u32, what: &str, calibrate: Calibrate, limit: u64) -> Option<String> {
    if limit < u64::from(n_in_flight) + SPARE_DESCRIPTORS {
        return Some(format!(
            "Up to {n_in_flight} requests in flight are planned, but this process may open only {limit} files; raise the \
             limit (ulimit -n) or lower {what}"
        ));
    }
    if calibrate == Calibrate::Off || limit >= descriptors(n_in_flight) {
        return None;
    }
    let most = (limit - SPARE_DESCRIPTORS) / 2;
    Some(format!(
        "This process may open only {limit} files: enough for the {n_in_flight} requests in flight that are planned, but \
         their calibration takes two for each, so levels above {most} in flight get no error of the client's own; \
         raise the limit (ulimit -n), lower {what}, or leave the calibration out (--calibrate off)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_that_fits_is_told_when_its_calibration_does_not() {
        let line = |limit, calibrate| too_few(1000, "the highest level", calibrate, limit);
        let said = |limit, calibrate, text: &str| {
            assert!(line(limit, calibrate).is_some_and(|line| line.contains(text)));
        };
        assert_eq!(line(2064, Calibrate::Auto), None);
        said(
            2063,
            Calibrate::Auto,
            "levels above 999 in flight get no error",
        );
        said(
            1064,
            Calibrate::Auto,
            "levels above 500 in flight get no error",
        );
        assert_eq!(line(1064, Calibrate::Off), None);
        for calibrate in [Calibrate::Auto, Calibrate::Off] {
            said(1063, calibrate, "may open only 1063 files; raise");
        }
    }
}
