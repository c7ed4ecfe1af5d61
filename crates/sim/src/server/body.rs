//! Response bodies: bytes that are ready, pauses, and a stream of tokens behind them.
//!
//! Promises: each step of data is a frame of its own (an HTTP/1.1 chunk); dropping the body cancels the
//! request behind it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::chunk::ChunkWriter;
use crate::service::SimStream;

/// What a body does next.
#[derive(Debug)]
pub(super) enum Step {
    Data(Bytes),
    Pause(Duration),
    /// Nothing ever again.
    Forever,
    /// The connection breaks.
    Abort,
}

/// The error that makes hyper break the connection.
#[derive(Debug, thiserror::Error)]
#[error("the body is cut on purpose")]
pub(super) struct CutOnPurpose;

struct Source {
    stream: SimStream,
    writer: ChunkWriter,
}

/// A response body.
pub(super) struct SimBody {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    source: Option<Box<Source>>,
}

impl SimBody {
    /// Bytes that are all there.
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::steps([Step::Data(bytes.into())])
    }

    /// These steps and then the end.
    pub(super) fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            sleep: None,
            source: None,
        }
    }

    /// The tokens of `stream` as `writer` writes them.
    pub(super) fn stream(stream: SimStream, writer: ChunkWriter) -> Self {
        Self {
            steps: VecDeque::new(),
            sleep: None,
            source: Some(Box::new(Source { stream, writer })),
        }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = CutOnPurpose;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOnPurpose>>> {
        let body = &mut *self;
        loop {
            if let Some(sleep) = body.sleep.as_mut() {
                ready!(sleep.as_mut().poll(context));
                body.sleep = None;
            }
            match body.steps.front() {
                Some(Step::Data(_)) => {
                    if let Some(Step::Data(bytes)) = body.steps.pop_front() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Some(Step::Pause(pause)) => {
                    body.sleep = Some(Box::pin(tokio::time::sleep(*pause)));
                    body.steps.pop_front();
                    continue;
                }
                // Left in place: hyper asks again when the connection changes, and drops the body when the client goes.
                Some(Step::Forever) => return Poll::Pending,
                Some(Step::Abort) => return Poll::Ready(Some(Err(CutOnPurpose))),
                None => {}
            }
            let Some(source) = body.source.as_mut() else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(&mut source.stream).poll_next(context)) {
                Some(event) => source.writer.write(event, &mut body.steps),
                None => body.source = None,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.source.is_none() && self.sleep.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.steps.iter().try_fold(0, |sum, step| match step {
            Step::Data(bytes) => Some(sum + bytes.len() as u64),
            _ => None,
        });
        match length {
            Some(length) if self.source.is_none() => SizeHint::with_exact(length),
            _ => SizeHint::default(),
        }
    }
}
