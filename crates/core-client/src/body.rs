//! A request body that is a list of shared slices: nothing is copied to send a prompt.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use hyper::body::{Body, Frame, SizeHint};

/// The body of one request. Its length is exact, so it goes out with `Content-Length`, and its parts
/// are written by vectored writes straight from where they lie.
///
/// A clone shares the parts.
#[derive(Clone, Default)]
pub struct RequestBody {
    parts: Vec<Bytes>,
    next: usize,
    remaining: u64,
    expected_chunks: usize,
    request_id: Option<HeaderValue>,
}

impl RequestBody {
    /// A body of the parts in order. `expected_chunks` is how many output chunks the answer may have,
    /// so that room for their stamps is made before the request is sent.
    #[must_use]
    pub fn new(parts: Vec<Bytes>, expected_chunks: usize) -> Self {
        let remaining = parts.iter().map(|part| part.len() as u64).sum();
        Self {
            parts,
            next: 0,
            remaining,
            expected_chunks,
            request_id: None,
        }
    }

    /// Sends `x-request-id: id` along, the key by which a server's own record of the request is found.
    /// Characters that no header can carry become `_`.
    #[must_use]
    pub fn with_request_id(mut self, id: &str) -> Self {
        let visible: String = id
            .chars()
            .map(|c| if c.is_ascii_graphic() { c } else { '_' })
            .collect();
        self.request_id = HeaderValue::try_from(visible).ok();
        self
    }

    /// Bytes still to be sent.
    #[must_use]
    pub fn content_length(&self) -> u64 {
        self.remaining
    }

    /// The whole body in one piece: a copy, for tests and debugging.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts[self.next..].concat()
    }

    /// How many output chunks the answer may have.
    #[must_use]
    pub fn expected_chunks(&self) -> usize {
        self.expected_chunks
    }

    pub(crate) fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_ref()
    }
}

impl fmt::Debug for RequestBody {
    /// Sizes only: prompts are megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("n_parts", &self.parts.len())
            .field("remaining_bytes", &self.remaining)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        while let Some(slot) = this.parts.get_mut(this.next) {
            let part = std::mem::take(slot);
            this.next += 1;
            if !part.is_empty() {
                this.remaining -= part.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
