//! A streamed body cut into its records, each with the stamp of the frame that completed it.
//!
//! Pure: works on a body that has been read, so that nothing is decoded while frames arrive.

use std::time::Duration;

use super::FrameStamp;
use crate::sse::SseDecoder;

/// How records follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Events,
    /// One record a line; blank lines are none.
    Lines,
}

/// One record of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When the frame arrived that completed it.
    pub at: Duration,
    /// The event's name; empty for lines and for events without one.
    pub name: Vec<u8>,
    /// Its data.
    pub data: Vec<u8>,
    /// Whether its end came too, and not only the end of the body.
    pub is_ended: bool,
}

/// The records of a body.
///
/// They do not depend on where frames begin and end; only their stamps do. What the end of the body cut
/// off is the last record, with `is_ended` false.
#[must_use]
pub fn records(body: &[u8], frames: &[FrameStamp], framing: Framing) -> Vec<Record> {
    match framing {
        Framing::Events => events(body, frames),
        Framing::Lines => lines(body, frames),
    }
}

fn events(body: &[u8], frames: &[FrameStamp]) -> Vec<Record> {
    let mut decoder = SseDecoder::new();
    let mut found = Vec::new();
    let mut start = 0;
    for frame in frames {
        let bytes = body.get(start..frame.end).unwrap_or_default();
        start = frame.end;
        decoder.push(bytes, |event| {
            found.push(Record {
                at: frame.at,
                name: event.name.to_vec(),
                data: event.data.to_vec(),
                is_ended: true,
            });
        });
    }
    if let (Some(event), Some(frame)) = (decoder.finish(), frames.last()) {
        found.push(Record {
            at: frame.at,
            name: event.name.to_vec(),
            data: event.data.to_vec(),
            is_ended: false,
        });
    }
    found
}

fn lines(body: &[u8], frames: &[FrameStamp]) -> Vec<Record> {
    let mut found = Vec::new();
    let mut frames = frames.iter();
    let mut frame = frames.next();
    let mut start = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        while let Some(stamp) = frame
            && stamp.end < end
        {
            frame = frames.next();
        }
        start = end;
        let data = line.trim_ascii();
        if let Some(stamp) = frame
            && !data.is_empty()
        {
            found.push(Record {
                at: stamp.at,
                name: Vec::new(),
                data: data.to_vec(),
                is_ended: line.ends_with(b"\n"),
            });
        }
    }
    found
}

/// Whether a stream of events has come to its `[DONE]`, as far as its last line can tell.
pub(super) fn is_done(body: &[u8]) -> bool {
    let text = body.trim_ascii_end();
    let Some(before) = text.strip_suffix(b"[DONE]") else {
        return false;
    };
    let before = before.strip_suffix(b" ").unwrap_or(before);
    before
        .strip_suffix(b"data:")
        .is_some_and(|rest| rest.is_empty() || rest.ends_with(b"\n") || rest.ends_with(b"\r"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames that end at these places, one a second.
    fn frames(mut ends: Vec<usize>, len: usize) -> Vec<FrameStamp> {
        ends.push(len);
        ends.sort_unstable();
        ends.dedup();
        ends.into_iter()
            .zip(1..)
            .map(|(end, second)| FrameStamp {
                at: Duration::from_secs(second),
                end,
            })
            .collect()
    }

    const EVENTS: &str =
        "data: {\"text\": \"a\"}\n\n: ping\n\nevent: error\ndata: x\n\ndata: [DONE]\n\n";
    const LINES: &str = "{\"text\": \"a\"}\r\n\n  {\"text\": \"é\"}\n{\"done\": true}";

    fn data(records: &[Record]) -> Vec<String> {
        let text = |record: &Record| String::from_utf8(record.data.clone()).unwrap();
        records.iter().map(text).collect()
    }

    #[test]
    fn events_and_lines_are_cut_and_what_has_no_end_is_told() {
        let whole = frames(vec![], EVENTS.len());
        let found = records(EVENTS.as_bytes(), &whole, Framing::Events);
        assert_eq!(data(&found), ["{\"text\": \"a\"}", "x", "[DONE]"]);
        assert_eq!(found[1].name, b"error");
        assert!(found.iter().all(|record| record.is_ended));
        let whole = frames(vec![], LINES.len());
        let found = records(LINES.as_bytes(), &whole, Framing::Lines);
        assert_eq!(
            data(&found),
            ["{\"text\": \"a\"}", "{\"text\": \"é\"}", "{\"done\": true}"]
        );
        assert_eq!(
            found.iter().map(|r| r.is_ended).collect::<Vec<_>>(),
            [true, true, false]
        );
        let cut = &EVENTS[..12];
        let found = records(cut.as_bytes(), &frames(vec![], 12), Framing::Events);
        assert_eq!((found.len(), found[0].is_ended), (1, false));
    }

    proptest! {
        /// However a body is split into frames, its records are the same, and each is stamped by the
        /// first frame that reaches its end.
        #[test]
        fn records_do_not_depend_on_frames(ends in prop::collection::vec(1usize..60, 0..12), events: bool) {
            let (body, framing) = if events {
                (EVENTS, Framing::Events)
            } else {
                (LINES, Framing::Lines)
            };
            let body = body.as_bytes();
            let split = frames(ends.into_iter().filter(|end| *end < body.len()).collect(), body.len());
            let whole = frames(vec![], body.len());
            let (found, wanted) = (records(body, &split, framing), records(body, &whole, framing));
            prop_assert_eq!(data(&found), data(&wanted));
            prop_assert!(found.iter().map(|r| r.at).is_sorted());
            // The first record's end: the blank line behind an event, the line's own end otherwise.
            let text = std::str::from_utf8(body).unwrap();
            let mark = if events { "\n\n" } else { "\n" };
            let end = text.find(mark).unwrap() + mark.len();
            let stamp = split.iter().find(|f| f.end >= end).unwrap();
            prop_assert_eq!(found[0].at, stamp.at);
        }
    }

    #[test]
    fn the_end_of_events_is_seen_in_any_spelling_and_nowhere_else() {
        for body in [
            "data: [DONE]",
            "data:[DONE]\n",
            "data: x\n\ndata: [DONE]\r\n\r\n",
        ] {
            assert!(is_done(body.as_bytes()), "{body:?}");
        }
        for body in [
            "",
            "data: x [DONE]",
            "xdata: [DONE]",
            "data: [DONE] \n x",
            "[DONE]",
        ] {
            assert!(!is_done(body.as_bytes()), "{body:?}");
        }
    }
}
