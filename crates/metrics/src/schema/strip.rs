//! Leaves quoted lists out of a CSV stream before it is parsed.
//!
//! Two columns of a detail file hold lists of a stamp per chunk, most of the file's bytes; parsing them
//! byte by byte only to skip them costs seconds. This reader drops every quoted cell that begins with `[`,
//! so that it arrives as an empty cell. Promise: all other cells, the number of cells of a row and the
//! lines of rows stay as they are. Only for readers that do not look at lists.

use std::io::{self, BufRead, Read};

use memchr::memchr;

/// Where in a row the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of quotes; whether the last byte ended a cell.
    Plain { at_cell_start: bool },
    /// Behind the opening quote of a cell, which has been held back.
    Opened,
    /// In a quoted cell that is handed on.
    Quoted,
    /// In a list that is left out.
    List,
    /// Behind a quote in a list: its end, unless another quote follows.
    ListQuote,
}

/// The filter. Lines within a list are not counted; lists have none.
#[derive(Debug)]
pub(super) struct WithoutLists<R> {
    input: R,
    state: State,
}

impl<R: BufRead> WithoutLists<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            state: State::Plain {
                at_cell_start: true,
            },
        }
    }
}

impl<R: BufRead> Read for WithoutLists<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        // One byte of room is kept for a quote that was held back.
        while written + 2 <= out.len() {
            let available = match self.input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What was written already has to be handed on first; the error comes again.
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                // A quote at the very end was held back for nothing.
                if self.state == State::Opened {
                    out[written] = b'"';
                    written += 1;
                    self.state = State::Quoted;
                }
                break;
            }
            let (used, state) = match self.state {
                State::Opened => {
                    if available[0] == b'[' {
                        (1, State::List)
                    } else {
                        out[written] = b'"';
                        written += 1;
                        (0, State::Quoted)
                    }
                }
                State::List => match memchr(b'"', available) {
                    Some(at) => (at + 1, State::ListQuote),
                    None => (available.len(), State::List),
                },
                State::ListQuote if available[0] == b'"' => (1, State::List),
                State::ListQuote => (
                    0,
                    State::Plain {
                        at_cell_start: false,
                    },
                ),
                State::Quoted => {
                    let room = available.len().min(out.len() - written);
                    let (n, state) = match memchr(b'"', &available[..room]) {
                        Some(at) => (
                            at + 1,
                            State::Plain {
                                at_cell_start: false,
                            },
                        ),
                        None => (room, State::Quoted),
                    };
                    out[written..written + n].copy_from_slice(&available[..n]);
                    written += n;
                    (n, state)
                }
                State::Plain { at_cell_start } => {
                    let room = available.len().min(out.len() - written - 1);
                    match memchr(b'"', &available[..room]) {
                        Some(0) if at_cell_start => (1, State::Opened),
                        // A quote within a plain cell is a letter like any other, and so is the first of
                        // the pair that stands for a quote within a quoted cell: the cell goes on.
                        Some(0) => {
                            out[written] = b'"';
                            written += 1;
                            (1, State::Quoted)
                        }
                        found => {
                            let n = found.unwrap_or(room);
                            out[written..written + n].copy_from_slice(&available[..n]);
                            written += n;
                            let at_cell_start = match n.checked_sub(1) {
                                Some(last) => matches!(available[last], b',' | b'\n' | b'\r'),
                                None => at_cell_start,
                            };
                            (n, State::Plain { at_cell_start })
                        }
                    }
                }
            };
            self.input.consume(used);
            self.state = state;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn stripped(text: &[u8], buffer: usize, out: usize) -> Vec<u8> {
        let mut reader = WithoutLists::new(BufReader::with_capacity(buffer, text));
        let mut all = Vec::new();
        let mut piece = vec![0; out];
        loop {
            let n = reader.read(&mut piece).unwrap();
            if n == 0 {
                return all;
            }
            all.extend_from_slice(&piece[..n]);
        }
    }

    fn cells(text: &[u8]) -> Vec<Vec<String>> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text)
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect()
    }

    #[test]
    fn lists_become_empty_cells_and_nothing_else_changes() {
        let text = "a,\"[1.5, 2.5]\",b\n\"x, \"\"y\"\"\",\"[]\",\"z\"\n,\"\",\"[1]\"\n";
        let expected = "a,,b\n\"x, \"\"y\"\"\",,\"z\"\n,\"\",\n";
        for buffer in [1, 2, 7, 64] {
            for out in [2, 3, 8, 64] {
                assert_eq!(stripped(text.as_bytes(), buffer, out), expected.as_bytes());
            }
        }
    }

    proptest! {
        /// However the stream is cut into pieces, the cells are those of the file, lists empty.
        #[test]
        fn cells_survive_any_cut(
            rows in prop::collection::vec(
                prop::collection::vec(
                    prop_oneof![
                        Just("[1.5, 2.25]".to_owned()),
                        Just("[]".to_owned()),
                        "[a-z0-9.]{0,6}",
                        "[a-z\",\n ]{0,8}",
                    ],
                    3,
                ),
                1..6,
            ),
            buffer in 1usize..40,
            out in 2usize..40,
        ) {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Necessary).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            // The writer quotes a list only where it holds a comma; ours and Python's do the same.
            let expected: Vec<Vec<String>> = cells(&text)
                .into_iter()
                .map(|row| {
                    row.into_iter()
                        .map(|cell| if cell == "[1.5, 2.25]" { String::new() } else { cell })
                        .collect()
                })
                .collect();
            prop_assert_eq!(cells(&stripped(&text, buffer, out)), expected);
        }
    }
}
