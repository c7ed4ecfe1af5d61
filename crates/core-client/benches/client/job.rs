//! What either client is asked to do, and what it says of each request.

use std::io::{self, BufRead, Write};
use std::time::Duration;

/// A load: so many requests in flight for so long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) level: usize,
    pub(crate) window: Duration,
    pub(crate) tokens: u32,
    pub(crate) prompt_bytes: usize,
}

impl Job {
    /// How long requests in flight are waited for behind the window.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(5).max(Duration::from_secs(30).min(self.window))
    }

    pub(crate) fn arguments(&self) -> [String; 4] {
        [
            self.level.to_string(),
            self.window.as_millis().to_string(),
            self.tokens.to_string(),
            self.prompt_bytes.to_string(),
        ]
    }

    /// What [`Self::arguments`] wrote.
    pub(crate) fn parse(arguments: &[String]) -> Option<Self> {
        let [level, window, tokens, prompt_bytes] = arguments else {
            return None;
        };
        Some(Self {
            level: level.parse().ok()?,
            window: Duration::from_millis(window.parse().ok()?),
            tokens: tokens.parse().ok()?,
            prompt_bytes: prompt_bytes.parse().ok()?,
        })
    }
}

/// One finished request as its client saw it.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Its `x-request-id`.
    pub(crate) id: String,
    /// Seconds.
    pub(crate) ttft: f64,
    /// Every output event, seconds after the first.
    pub(crate) arrivals: Vec<f64>,
}

impl Measured {
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{} {:.9}", self.id, self.ttft)?;
        for at in &self.arrivals {
            write!(out, " {at:.9}")?;
        }
        writeln!(out)
    }

    pub(crate) fn read_all(input: impl BufRead) -> io::Result<Vec<Self>> {
        input.lines().map(|line| Self::read(&line?)).collect()
    }

    fn read(line: &str) -> io::Result<Self> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a line of the floor client");
        let mut words = line.split(' ');
        let id = words.next().ok_or_else(bad)?.to_owned();
        let mut numbers = words.map(|w| w.parse::<f64>().map_err(|_| bad()));
        let ttft = numbers.next().ok_or_else(bad)??;
        Ok(Self {
            id,
            ttft,
            arrivals: numbers.collect::<io::Result<_>>()?,
        })
    }
}
