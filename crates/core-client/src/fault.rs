//! What broke below the stream of events, said in words and given its kind.

use std::error::Error;
use std::io::{self, ErrorKind};

use metrics::timeline::{Failure, FailureKind};

use crate::answer::failure;

/// The request was handed over and no response head came.
pub(crate) fn before_head(error: &hyper::Error) -> Failure {
    let causes = causes(error);
    if error.is_parse_version_h2() {
        let message = "the server answers in HTTP/2 to HTTP/1.1: use --http 2";
        failure(FailureKind::Protocol, message)
    } else if error.is_parse() {
        failure(
            FailureKind::Protocol,
            format!("the answer is not HTTP: {causes}"),
        )
    } else if error.is_incomplete_message() {
        let message = "the server closed the connection before it answered: see its log";
        failure(FailureKind::Truncated, message)
    } else {
        let message = format!(
            "the connection broke before the server answered: {causes}; see the server's log"
        );
        failure(FailureKind::Truncated, message)
    }
}

/// The body broke off after some output chunks.
pub(crate) fn in_body(error: &hyper::Error, n_chunks: usize) -> Failure {
    let causes = causes(error);
    match io_kind(error) {
        Some(ErrorKind::InvalidInput | ErrorKind::InvalidData) => failure(
            FailureKind::Protocol,
            format!("the framing of the answer is broken after {n_chunks} chunks: {causes}"),
        ),
        _ => failure(
            FailureKind::Truncated,
            format!(
                "the connection was cut after {n_chunks} chunks: {causes}; see the server's log"
            ),
        ),
    }
}

/// An error and its causes on one line; a cause that its effect repeats is left out.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// Kind of the first I/O error among the causes.
fn io_kind(error: &dyn Error) -> Option<ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}
