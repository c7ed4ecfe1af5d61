//! From a body to the head of its answer: a connection, the request on it, and the stamps in between.
//!
//! The one place where a request meets a connection, whatever is asked. A request goes out at most once:
//! it moves to another connection only while not a byte of it was written.

use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use metrics::timeline::{Failure, FailureKind, Timeline};

use crate::answer::failure;
use crate::body::RequestBody;
use crate::clock::RunClock;
use crate::conn::HeadError;
use crate::fault;
use crate::pool::{Lease, Link, Pool};

/// What is known of a request on its way, kept by the caller: a request that is broken off leaves what
/// was reached.
#[derive(Debug)]
pub(crate) struct Stamps<'a> {
    pub(crate) timeline: &'a mut Timeline,
    /// Since when a connection is being opened, while it is.
    pub(crate) dialing_since: &'a mut Option<Duration>,
    /// HTTP status, once the head is here.
    pub(crate) status: &'a mut Option<u16>,
}

/// Gets a connection, hands the request over and waits for the head of the answer.
pub(crate) async fn hand_over(
    clock: RunClock,
    pool: &Pool,
    mut body: RequestBody,
    request: impl Fn(bool, RequestBody) -> Request<RequestBody>,
    stamps: Stamps<'_>,
) -> Result<(Link, Response<Incoming>), Failure> {
    let Stamps {
        timeline,
        dialing_since,
        status,
    } = stamps;
    loop {
        let asked = clock.now();
        timeline.launched = asked;
        *dialing_since = Some(asked);
        let lease = pool.lease().await.map_err(|e| e.into_failure())?;
        *dialing_since = None;
        let Lease {
            mut link,
            is_fresh,
            has_waited,
        } = lease;
        let request = request(link.is_http2(), body);
        timeline.launched = clock.now();
        timeline.dial = if has_waited {
            timeline.launched.saturating_sub(asked)
        } else {
            Duration::ZERO
        };
        let answered = link.head(request);
        match answered.await {
            Ok(response) => {
                timeline.headers_at = Some(link.read_at());
                *status = Some(response.status().as_u16());
                return Ok((link, response));
            }
            Err(HeadError::Broken(error)) => {
                if !is_fresh {
                    pool.broke_under_a_request(&link);
                }
                return Err(fault::before_head(&error));
            }
            // Nothing was written, so this is no second try of a request but the first on a
            // connection that stands.
            Err(HeadError::Unsent(request)) if !is_fresh => body = request.into_body(),
            Err(HeadError::Unsent(_)) => {
                let message = "the server closed a new connection before a request could be sent";
                return Err(failure(FailureKind::Connect, message));
            }
        }
    }
}
