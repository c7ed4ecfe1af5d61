//! What happened to one request, stamped at arrival and not interpreted yet.
//!
//! All stamps are `Duration`s since the run's monotonic epoch, so they can be compared and subtracted
//! without a wall clock ever stepping between them.

use std::fmt;
use std::time::Duration;

/// Arrival of one event that carried output text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkStamp {
    /// When the read that completed the event returned. Events of one read share it.
    pub at: Duration,
    /// Length of the text in bytes, the weight by which tokens are spread when the server does not
    /// count them per chunk.
    pub text_bytes: u32,
}

/// Stamps of one request, from the intended send to the end of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// When the slot was free and the request should have been sent.
    pub intended: Duration,
    /// When the request was handed to an established connection. TTFT starts here.
    pub launched: Duration,
    /// Time spent on opening a connection for this request; zero when one stood ready.
    pub dial: Duration,
    /// No connection was had: the request ended while one was being opened, and `launched` is when that began.
    pub is_unsent: bool,
    /// Arrival of the response head.
    pub headers_at: Option<Duration>,
    /// Every event with non-empty output, in order of arrival.
    pub chunks: Vec<ChunkStamp>,
    /// When the stream was read to its end, failed or was cancelled.
    pub finished: Duration,
    /// How long behind that the server still owed the end of the answer's body and the client waited for it, a few
    /// milliseconds at most, so that the next request finds the connection free.
    pub held_back: Duration,
}

impl Timeline {
    /// When the client was done with its own part: it handed the request over to a connection that stood ready, or began
    /// to open one. What opening it takes is the server's and the network's time.
    #[must_use]
    pub fn ready_at(&self) -> Duration {
        if self.is_unsent {
            self.launched
        } else {
            self.launched.saturating_sub(self.dial)
        }
    }

    /// How late the client was.
    #[must_use]
    pub fn send_delay(&self) -> Duration {
        self.ready_at().saturating_sub(self.intended)
    }

    /// How it went out.
    #[must_use]
    pub fn launch(&self) -> Launch {
        Launch {
            at: self.launched,
            delay: self.send_delay(),
        }
    }

    /// When the request's slot was free for the next one, as far as the server is concerned.
    #[must_use]
    pub fn slot_free_at(&self) -> Duration {
        self.finished + self.held_back
    }

    /// Arrival of the first output, if any arrived.
    #[must_use]
    pub fn first_token_at(&self) -> Option<Duration> {
        self.chunks.first().map(|c| c.at)
    }

    /// Arrival of the last output, if any arrived.
    #[must_use]
    pub fn last_token_at(&self) -> Option<Duration> {
        self.chunks.last().map(|c| c.at)
    }
}

/// How a request went out, as far as that is known while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Launch {
    /// When it was handed to a connection.
    pub at: Duration,
    /// How late the client was, [`Timeline::send_delay`].
    pub delay: Duration,
}

/// Token counts as the server reported them; absent is `None` and never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// `usage.prompt_tokens`.
    pub prompt_tokens: Option<u64>,
    /// `usage.completion_tokens`.
    pub completion_tokens: Option<u64>,
    /// `usage.prompt_tokens_details.cached_tokens`.
    pub cached_tokens: Option<u64>,
}

/// Why a request yielded no usable sample. The names go into `failed_requests_*.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// No connection: refused, unreachable, TLS or DNS failure.
    Connect,
    /// The request limit passed before the stream ended.
    Timeout,
    /// An HTTP status other than 200.
    Status,
    /// The connection ended before the stream was complete.
    Truncated,
    /// The answer is not what the protocol says: HTML, broken JSON, an error event in the stream.
    Protocol,
    /// A complete answer without a single token.
    Empty,
    /// Stopped by us at the drain limit or by a signal; not the server's fault.
    Cancelled,
}

impl FailureKind {
    /// Every kind, in the order in which they are listed for people.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Timeout,
        Self::Status,
        Self::Truncated,
        Self::Protocol,
        Self::Empty,
        Self::Cancelled,
    ];

    /// The kind of this name, as [`Self::as_str`] writes it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The word used in files and log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Truncated => "truncated",
            Self::Protocol => "protocol",
            Self::Empty => "empty",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed request: its kind, the HTTP status where there was one, and one line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// HTTP status of the answer, if one came.
    pub status: Option<u16>,
    /// One line, cause first; holds an excerpt of the server's own message where it sent one.
    pub message: String,
}

/// Everything that is known of one request when it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The stamps.
    pub timeline: Timeline,
    /// Last non-null usage object of the stream.
    pub usage: Usage,
    /// The output text, decoded; used to count tokens when the server does not.
    pub text: String,
    /// `None` when the request yielded a sample.
    pub failure: Option<Failure>,
}
