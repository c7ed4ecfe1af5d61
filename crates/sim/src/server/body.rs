//! Response bodies: bytes that are ready, pauses, and a stream of tokens behind them.
//!
//! Promises: each step of data is a frame of its own (an HTTP/1.1 chunk) and, in a stream, a write of its own;
//! dropping the body cancels the request behind it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::chunk::writer::ChunkWriter;
use crate::service::SimStream;
use crate::slotted::Slotted;

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
    silence: Option<Silence>,
}

/// When a comment is due, if nothing else is sent before.
struct Silence {
    longest: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Source {
    /// The next event, or a comment if there was silence for too long.
    fn poll(&mut self, context: &mut Context<'_>, steps: &mut Slotted<Step>) -> Poll<Option<()>> {
        let event = match Pin::new(&mut self.stream).poll_next(context) {
            Poll::Ready(None) if self.stream.is_complete() => return Poll::Ready(None),
            Poll::Ready(None) => {
                steps.push_back(Step::Abort);
                return Poll::Ready(Some(()));
            }
            Poll::Ready(Some(event)) => Some(event),
            Poll::Pending => {
                let Some(silence) = self.silence.as_mut() else {
                    return Poll::Pending;
                };
                ready!(silence.timer.as_mut().poll(context));
                None
            }
        };
        if let Some(silence) = self.silence.as_mut() {
            silence
                .timer
                .as_mut()
                .reset(Instant::now() + silence.longest);
        }
        match event {
            Some(event) => self.writer.write(event, steps),
            None => steps.push_back(Step::Data(self.writer.comment())),
        }
        Poll::Ready(Some(()))
    }
}

/// A response body.
pub(super) struct SimBody {
    steps: Slotted<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    source: Option<Box<Source>>,
    /// A frame of a stream was handed over and must be written before the next one is.
    unwritten: bool,
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
            unwritten: false,
        }
    }

    /// The tokens of `stream` as `writer` writes them, with a comment first and after each such silence.
    pub(super) fn stream(
        stream: SimStream,
        writer: ChunkWriter,
        comments: Option<Duration>,
    ) -> Self {
        Self {
            steps: comments
                .map(|_| Step::Data(writer.comment()))
                .into_iter()
                .collect(),
            sleep: None,
            unwritten: false,
            source: Some(Box::new(Source {
                stream,
                writer,
                silence: comments.map(|longest| Silence {
                    longest,
                    timer: Box::pin(sleep(longest)),
                }),
            })),
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
        let polled = self.poll_next_frame(context);
        if polled.is_pending() {
            self.unwritten = false;
        }
        polled
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

impl SimBody {
    fn poll_next_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOnPurpose>>> {
        let body = self;
        loop {
            if let Some(sleep) = body.sleep.as_mut() {
                ready!(sleep.as_mut().poll(context));
                body.sleep = None;
            }
            match body.steps.front() {
                // Hyper takes what is ready into one write, and writes when nothing is.
                Some(Step::Data(_)) if body.unwritten => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Data(_)) => {
                    body.unwritten = body.source.is_some() || body.steps.has_more();
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
            if ready!(source.poll(context, &mut body.steps)).is_none() {
                body.source = None;
            }
        }
    }
}
