//! What goes wrong on purpose, when, and for whom.
//!
//! Promises: which requests are hit is a pure function of the plan, its seed and the order of requests.
//! Knows nothing of HTTP: the server acts a [`FaultKind`] out.

use std::str::FromStr;
use std::time::Duration;

use crate::model::output;

/// One thing that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// An error object with this status; 429 and 503 carry `Retry-After: 1`.
    Status(u16),
    /// An error object with this status and this `Retry-After`.
    Busy {
        /// The status.
        status: u16,
        /// What `Retry-After` says, in seconds.
        retry_after: u64,
    },
    /// Status 200 with an HTML page.
    Html,
    /// A plain JSON answer although a stream was asked for.
    NoStream,
    /// Nothing is answered for so long (`None`: for ever), then the request goes on.
    Hang(Option<Duration>),
    /// The stream stops after `tokens` tokens for so long (`None`: for ever), then goes on.
    Stall {
        /// Tokens sent before.
        tokens: u32,
        /// How long it stops.
        pause: Option<Duration>,
    },
    /// The connection ends in the middle of the body, after this many tokens.
    Cut {
        /// Tokens sent before.
        tokens: u32,
    },
    /// A complete stream without any text.
    Empty,
    /// No usage although it was asked for.
    NoUsage,
    /// The stream ends without `[DONE]`.
    NoDone,
    /// An error object in the stream, after this many tokens, and then its end.
    ErrorEvent {
        /// Tokens sent before.
        tokens: u32,
    },
    /// Two events in each frame.
    Joined,
    /// Each event over two frames.
    Split,
    /// Text with multi-byte characters, each cut in the middle by a frame's border.
    SplitUtf8,
    /// One byte per frame.
    Drip,
    /// A `content-length` that is too large.
    WrongLength,
    /// The connection is reset (RST) before any answer.
    Reset,
    /// The connection is closed (FIN) before any answer.
    Close,
    /// A new connection is not looked at for so long, before its first byte is read (or its TLS handshake begins).
    SlowAccept(Duration),
    /// A new connection is reset, and for so long the port is closed: connecting is refused.
    Refuse(Duration),
}

/// Which requests a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultScope {
    /// `/v1/models`.
    Models,
    /// Generation: `/v1/chat/completions` and `/v1/completions`.
    Chat,
    /// Every endpoint but those under `/sim/`.
    All,
    /// New connections, whatever will be asked over them.
    Connections,
}

/// A kind, whom it may hit, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRule {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Whom it may hit.
    pub scope: FaultScope,
    /// Requests in scope that are let through first.
    pub after: u64,
    /// Of the others, only each such-and-so-manieth.
    pub every: u64,
    /// Of those, each with this probability.
    pub probability: f64,
    /// At most so many in all.
    pub times: Option<u64>,
}

/// All rules, and the seed of their probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultPlan {
    /// The rules; the first that fires wins.
    pub rules: Vec<FaultRule>,
    /// Seed of the probabilities.
    pub seed: u64,
}

/// A fault option that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultParseError {
    /// No such kind.
    #[error("unknown fault '{0}'; one of {KINDS}")]
    Kind(String),
    /// No such part.
    #[error(
        "unknown part '{0}'; parts are after=N, every=N, p=P, times=N, tokens=N, seconds=S, on=models|chat|all"
    )]
    Part(String),
    /// A part's value is wrong.
    #[error("'{value}' is no value for {part}")]
    Value {
        /// The part.
        part: &'static str,
        /// What was given.
        value: String,
    },
    /// A fault that needs a generation.
    #[error("fault '{0}' concerns generated text and cannot be set on=models or on=all")]
    Scope(String),
    /// A fault of connections.
    #[error(
        "fault '{0}' concerns new connections, of which nobody knows yet what for: leave on= out"
    )]
    ConnectionScope(String),
}

/// How long something takes if it is not said.
const A_WHILE: Duration = Duration::from_secs(1);

/// The kinds, as they are written.
pub const KINDS: &str = "400 to 599 (a status), html, no-stream, hang, stall, cut, empty, no-usage, no-done, \
error-event, joined, split, split-utf8, drip, wrong-length, reset, close, slow-accept, refuse";

impl FaultRule {
    /// A rule that hits every generation.
    #[must_use]
    pub const fn always(kind: FaultKind) -> Self {
        Self {
            kind,
            scope: FaultScope::Chat,
            after: 0,
            every: 1,
            probability: 1.0,
            times: None,
        }
    }

    /// The same, for other requests.
    #[must_use]
    pub const fn on(self, scope: FaultScope) -> Self {
        Self { scope, ..self }
    }

    /// The same, letting the first `requests` requests through.
    #[must_use]
    pub const fn after(self, requests: u64) -> Self {
        Self {
            after: requests,
            ..self
        }
    }

    fn concerns(&self, scope: FaultScope) -> bool {
        let is_request = scope != FaultScope::Connections;
        self.scope == scope || (self.scope == FaultScope::All && is_request)
    }
}

impl FaultKind {
    /// Whether it needs generated text to show.
    #[must_use]
    pub const fn needs_generation(self) -> bool {
        !matches!(
            self,
            Self::Status(_)
                | Self::Busy { .. }
                | Self::Html
                | Self::Hang(_)
                | Self::Reset
                | Self::Close
        ) && !self.needs_connection()
    }

    /// Whether it happens before there is a request.
    #[must_use]
    pub const fn needs_connection(self) -> bool {
        matches!(self, Self::SlowAccept(_) | Self::Refuse(_))
    }
}

impl FromStr for FaultRule {
    type Err = FaultParseError;

    /// Reads `KIND[:after=N][:every=N][:p=P][:times=N][:tokens=N][:seconds=S][:on=models|chat|all]`.
    fn from_str(text: &str) -> Result<Self, FaultParseError> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let mut rule = Self::always(FaultKind::Html);
        let (mut tokens, mut pause, mut scope) = (3, None, None);
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| FaultParseError::Part(part.to_owned()))?;
            match key {
                "after" => rule.after = number("after", value)?,
                "every" => rule.every = at_least_one("every", value)?,
                "times" => rule.times = Some(number("times", value)?),
                "p" => rule.probability = in_range("p", value, 1.0)?,
                "tokens" => tokens = number("tokens", value)?,
                "seconds" => {
                    pause = Some(Duration::from_secs_f64(in_range("seconds", value, 1e9)?))
                }
                "on" => {
                    scope = Some(match value {
                        "models" => FaultScope::Models,
                        "chat" => FaultScope::Chat,
                        "all" => FaultScope::All,
                        _ => return Err(bad("on", value)),
                    });
                }
                _ => return Err(FaultParseError::Part(part.to_owned())),
            }
        }
        rule.kind = match name {
            "html" => FaultKind::Html,
            "no-stream" => FaultKind::NoStream,
            "hang" => FaultKind::Hang(pause),
            "stall" => FaultKind::Stall { tokens, pause },
            "cut" => FaultKind::Cut { tokens },
            "empty" => FaultKind::Empty,
            "no-usage" => FaultKind::NoUsage,
            "no-done" => FaultKind::NoDone,
            "error-event" => FaultKind::ErrorEvent { tokens },
            "joined" => FaultKind::Joined,
            "split" => FaultKind::Split,
            "split-utf8" => FaultKind::SplitUtf8,
            "drip" => FaultKind::Drip,
            "wrong-length" => FaultKind::WrongLength,
            "reset" => FaultKind::Reset,
            "close" => FaultKind::Close,
            "slow-accept" => FaultKind::SlowAccept(pause.unwrap_or(A_WHILE)),
            "refuse" => FaultKind::Refuse(pause.unwrap_or(A_WHILE)),
            _ => match name.parse() {
                Ok(status @ 400..=599) => match pause {
                    None => FaultKind::Status(status),
                    // The header counts whole seconds; too early would be wrong, too late is not.
                    Some(pause) => FaultKind::Busy {
                        status,
                        retry_after: pause.as_secs() + u64::from(pause.subsec_nanos() > 0),
                    },
                },
                _ => return Err(FaultParseError::Kind(name.to_owned())),
            },
        };
        if rule.kind.needs_connection() && scope.is_some() {
            return Err(FaultParseError::ConnectionScope(name.to_owned()));
        }
        rule.scope = match scope {
            Some(scope) => scope,
            None if rule.kind.needs_connection() => FaultScope::Connections,
            None => FaultScope::Chat,
        };
        if rule.kind.needs_generation() && rule.scope != FaultScope::Chat {
            return Err(FaultParseError::Scope(name.to_owned()));
        }
        Ok(rule)
    }
}

fn bad(part: &'static str, value: &str) -> FaultParseError {
    FaultParseError::Value {
        part,
        value: value.to_owned(),
    }
}

fn number<T: FromStr>(part: &'static str, value: &str) -> Result<T, FaultParseError> {
    value.parse().map_err(|_| bad(part, value))
}

fn at_least_one(part: &'static str, value: &str) -> Result<u64, FaultParseError> {
    number(part, value).and_then(|n| if n == 0 { Err(bad(part, value)) } else { Ok(n) })
}

fn in_range(part: &'static str, value: &str, max: f64) -> Result<f64, FaultParseError> {
    number(part, value).and_then(|n: f64| {
        if (0.0..=max).contains(&n) {
            Ok(n)
        } else {
            Err(bad(part, value))
        }
    })
}

impl FaultPlan {
    /// Nothing goes wrong.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            rules: Vec::new(),
            seed: 0,
        }
    }

    /// Every generation (or connection, if the kind is one of connections) goes wrong in this way.
    #[must_use]
    pub fn always(kind: FaultKind) -> Self {
        let rule = FaultRule::always(kind);
        Self::of(if kind.needs_connection() {
            rule.on(FaultScope::Connections)
        } else {
            rule
        })
    }

    /// One rule.
    #[must_use]
    pub fn of(rule: FaultRule) -> Self {
        Self {
            rules: vec![rule],
            seed: 0,
        }
    }
}

/// A plan and how far it has got.
#[derive(Debug)]
pub struct FaultState {
    plan: FaultPlan,
    /// Per rule: requests seen in scope, and hit.
    counts: Vec<(u64, u64)>,
}

impl FaultState {
    /// The plan at its beginning.
    #[must_use]
    pub fn new(plan: FaultPlan) -> Self {
        Self {
            counts: vec![(0, 0); plan.rules.len()],
            plan,
        }
    }

    /// What happens to the next request of `scope` (which is [`FaultScope::All`] for endpoints that only
    /// `on=all` concerns).
    pub fn draw(&mut self, scope: FaultScope) -> Option<FaultKind> {
        let mut drawn = None;
        for (index, rule) in self.plan.rules.iter().enumerate() {
            if !rule.concerns(scope) {
                continue;
            }
            // Every rule counts every request, so that rules do not shift each other.
            let (seen, hit) = &mut self.counts[index];
            *seen += 1;
            let behind = seen.checked_sub(rule.after + 1);
            let in_turn = behind.is_some_and(|n| (n + 1).is_multiple_of(rule.every));
            let luck = output::unit(self.plan.seed ^ (index as u64) << 48, *seen);
            let left = rule.times.is_none_or(|times| *hit < times);
            if in_turn && left && luck < rule.probability && drawn.is_none() {
                *hit += 1;
                drawn = Some(rule.kind);
            }
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(rule: &str, n: u64) -> Vec<u64> {
        let mut state = FaultState::new(FaultPlan::of(rule.parse().unwrap()));
        (1..=n)
            .filter(|_| state.draw(FaultScope::Chat).is_some())
            .collect()
    }

    #[test]
    fn triggers_count_from_the_first_request() {
        assert_eq!(hits("500", 3), [1, 2, 3]);
        assert_eq!(hits("500:after=2", 4), [3, 4]);
        assert_eq!(hits("500:every=3", 9), [3, 6, 9]);
        assert_eq!(hits("500:after=1:every=2:times=2", 9), [3, 5]);
        assert!(hits("500:on=models", 9).is_empty());
        assert_eq!(hits("500:on=all:times=1", 9), [1]);
    }

    #[test]
    fn probability_hits_its_share_and_repeats() {
        let share = hits("cut:p=0.25", 10_000);
        assert_eq!(share, hits("cut:p=0.25", 10_000));
        assert!(
            (2_300..2_700).contains(&share.len()),
            "{} of 10000",
            share.len()
        );
        assert!(hits("cut:p=0", 100).is_empty());
    }

    #[test]
    fn kinds_take_their_parameters() {
        let kind = |text: &str| text.parse::<FaultRule>().map(|rule| rule.kind);
        assert_eq!(kind("cut"), Ok(FaultKind::Cut { tokens: 3 }));
        assert_eq!(kind("cut:tokens=0"), Ok(FaultKind::Cut { tokens: 0 }));
        assert_eq!(
            kind("stall:seconds=1.5"),
            Ok(FaultKind::Stall {
                tokens: 3,
                pause: Some(Duration::from_millis(1500))
            })
        );
        assert_eq!(kind("429"), Ok(FaultKind::Status(429)));
        assert_eq!(
            kind("429:seconds=6.5"),
            Ok(FaultKind::Busy {
                status: 429,
                retry_after: 7
            })
        );
        assert_eq!(
            kind("refuse:seconds=0.5"),
            Ok(FaultKind::Refuse(Duration::from_millis(500)))
        );
    }

    #[test]
    fn faults_of_connections_count_connections_and_not_requests() {
        let mut state = FaultState::new(FaultPlan::of("slow-accept:after=1".parse().unwrap()));
        let mut draw = |scope| state.draw(scope).is_some();
        assert!(!draw(FaultScope::Connections));
        assert!(!draw(FaultScope::Chat) && !draw(FaultScope::All));
        assert!(draw(FaultScope::Connections));
        let mut state = FaultState::new(FaultPlan::of("500:on=all".parse().unwrap()));
        assert_eq!(state.draw(FaultScope::Connections), None);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (text, word) in [
            ("200", "unknown fault"),
            ("fire", "unknown fault"),
            ("500:often", "unknown part"),
            ("500:every=0", "every"),
            ("500:p=1.5", "p"),
            ("500:p=NaN", "p"),
            ("hang:seconds=-1", "seconds"),
            ("cut:on=models", "on=models"),
            ("slow-accept:on=all", "connections"),
            ("500:on=moon", "on"),
        ] {
            let error = text.parse::<FaultRule>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
