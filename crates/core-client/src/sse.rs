//! Server-sent events, decoded incrementally: bytes in, events out, no I/O and no clock.
//!
//! Follows the event-stream grammar of the WHATWG HTML standard, section 9.2: a byte order mark at the
//! start, lines ended by CR, LF or CRLF, comments, `data` lines joined by LF, one optional blank after
//! the colon. `id` and `retry` serve reconnection, which a measurement must not do, and are ignored like
//! unknown fields.
//!
//! Two things differ on purpose. Data is handed out as bytes, because its reader checks UTF-8 anyway,
//! and an event is always whole, so a character split between frames is whole again. And an event that
//! the end of the stream cut off is reported by [`SseDecoder::finish`] and not dropped without a word.

use std::mem;

use memchr::{memchr, memchr2};

/// One event. The slices live in the pushed bytes where the event came in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The `event` field; empty when there was none.
    pub name: &'a [u8],
    /// The `data` lines, joined by LF.
    pub data: &'a [u8],
}

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// An incremental decoder of one stream.
///
/// The events do not depend on how the bytes are split over [`push`](Self::push) calls. Nothing is
/// allocated for an event whose data is one line inside one pushed slice.
#[derive(Debug, Default)]
pub struct SseDecoder {
    /// Beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Data of the open event, as far as it had to be kept.
    data: Vec<u8>,
    name: Vec<u8>,
    has_data: bool,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Bytes of the byte order mark seen; 3 when the start of the stream is past.
    n_bom: usize,
    n_comments: u64,
}

impl SseDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands every event they complete to `sink`, in order.
    pub fn push<'a>(&'a mut self, bytes: &'a [u8], mut sink: impl FnMut(SseEvent<'_>)) {
        let mut rest = self.skip_bom(bytes);
        // The open event's data when it is one line that lies in `bytes`: not copied unless the event
        // stays open to the end of the slice or gets another line.
        let mut in_place: Option<&[u8]> = None;
        while !rest.is_empty() {
            if mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.line.extend_from_slice(rest);
                break;
            };
            let line = &rest[..end];
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if self.line.is_empty() {
                if line.is_empty() {
                    self.dispatch(in_place.take(), &mut sink);
                } else if let Some(value) = self.field(line) {
                    if self.has_data {
                        self.keep(in_place.take());
                        self.append(value);
                    } else {
                        self.has_data = true;
                        in_place = Some(value);
                    }
                }
            } else {
                let mut whole = mem::take(&mut self.line);
                whole.extend_from_slice(line);
                if let Some(value) = self.field(&whole) {
                    self.keep(in_place.take());
                    self.append(value);
                }
                whole.clear();
                self.line = whole;
            }
        }
        self.keep(in_place);
    }

    /// What the end of the stream cut off, if anything: the event that would have been next, had it
    /// been ended properly. `None` means that the stream ended between two events.
    pub fn finish(&mut self) -> Option<SseEvent<'_>> {
        if self.n_bom < BOM.len() {
            self.line.extend_from_slice(&BOM[..self.n_bom]);
            self.n_bom = BOM.len();
        }
        let line = mem::take(&mut self.line);
        let cut_off = !line.is_empty() && line[0] != b':';
        if let Some(value) = self.field(&line) {
            self.append(value);
        }
        if mem::take(&mut self.has_data) || cut_off || !self.name.is_empty() {
            Some(SseEvent {
                name: &self.name,
                data: &self.data,
            })
        } else {
            None
        }
    }

    /// Comment lines so far; servers send them to keep a silent connection alive.
    #[must_use]
    pub fn n_comments(&self) -> u64 {
        self.n_comments
    }

    fn skip_bom<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while self.n_bom < BOM.len() {
            match rest.first() {
                None => return rest,
                Some(byte) if *byte == BOM[self.n_bom] => {
                    self.n_bom += 1;
                    rest = &rest[1..];
                }
                Some(_) => {
                    // Not a mark after all: what looked like one is the start of the first line.
                    self.line.extend_from_slice(&BOM[..self.n_bom]);
                    self.n_bom = BOM.len();
                }
            }
        }
        rest
    }

    /// Interprets one line that is not empty; returns the value of a `data` field.
    fn field<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let (name, value) = match memchr(b':', line) {
            None => (line, &line[line.len()..]),
            Some(0) => {
                self.n_comments += 1;
                return None;
            }
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
        };
        match name {
            b"data" => Some(value),
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
                None
            }
            _ => None,
        }
    }

    /// Copies the first data line out of a slice that is about to go.
    fn keep(&mut self, in_place: Option<&[u8]>) {
        if let Some(value) = in_place {
            self.data.extend_from_slice(value);
        }
    }

    fn append(&mut self, value: &[u8]) {
        if mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    fn dispatch(&mut self, in_place: Option<&[u8]>, sink: &mut impl FnMut(SseEvent<'_>)) {
        if mem::take(&mut self.has_data) {
            sink(SseEvent {
                name: &self.name,
                data: in_place.unwrap_or(&self.data),
            });
        }
        self.data.clear();
        self.name.clear();
    }
}

#[cfg(test)]
mod tests;
