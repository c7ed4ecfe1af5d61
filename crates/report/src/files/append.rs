//! A file that grows by whole batches of rows.
//!
//! Promise: what was flushed stays as it is. A batch reaches the file by one write when it is flushed;
//! if that fails half-way, the file is cut back to the last complete batch and the rows wait for the
//! next flush, so that nothing is lost when the disk has room again. Refuses to hide the failure.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};

/// What a batch is written to: a file, or in tests something that fails on purpose.
pub(super) trait Store: Write {
    /// Makes the content exactly `len` bytes long and goes on writing there.
    fn cut_to(&mut self, len: u64) -> io::Result<()>;
}

impl Store for File {
    fn cut_to(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(|_| ())
    }
}

/// See the module's promise. As a [`Write`] it gathers; only `flush` touches the store.
#[derive(Debug)]
pub(super) struct AppendFile<S: Store = File> {
    store: S,
    /// Length of the content up to the last complete batch, bytes.
    complete_len: u64,
    /// A batch failed and the store could not be cut back; to be done before the next write.
    torn: bool,
    pending: Vec<u8>,
}

impl<S: Store> AppendFile<S> {
    /// Continues a store that holds `len` complete bytes and whose cursor stands behind them.
    pub(super) fn new(store: S, len: u64) -> Self {
        Self {
            store,
            complete_len: len,
            torn: false,
            pending: Vec::new(),
        }
    }
}

impl<S: Store> Write for AppendFile<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.torn {
            self.store.cut_to(self.complete_len)?;
            self.torn = false;
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self
            .store
            .write_all(&self.pending)
            .and_then(|()| self.store.flush());
        if let Err(error) = written {
            self.torn = self.store.cut_to(self.complete_len).is_err();
            return Err(error);
        }
        self.complete_len += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A disk with room for so many bytes, which may also refuse to be cut.
    struct SmallDisk {
        content: Vec<u8>,
        room: usize,
        cuts_fail: bool,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room - self.content.len());
            if n == 0 && !bytes.is_empty() {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.content.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Store for SmallDisk {
        fn cut_to(&mut self, len: u64) -> io::Result<()> {
            if self.cuts_fail {
                return Err(io::Error::other("read-only"));
            }
            self.content.truncate(usize::try_from(len).unwrap());
            Ok(())
        }
    }

    /// On a disk that fills up at any point, the content after a failed flush is exactly the batches
    /// whose flush succeeded; once there is room, the next flush brings all of them.
    #[test]
    fn a_full_disk_never_leaves_half_a_batch_and_loses_none() {
        proptest!(|(batches in prop::collection::vec("[a-z]{1,20}\n", 1..8), room in 0usize..160, cuts_fail: bool)| {
            let disk = SmallDisk { content: Vec::new(), room, cuts_fail };
            let mut file = AppendFile::new(disk, 0);
            let mut complete = String::new();
            for (i, batch) in batches.iter().enumerate() {
                file.write_all(batch.as_bytes()).unwrap();
                let flushed = file.flush().is_ok();
                if flushed {
                    complete = batches[..=i].concat();
                }
                if !cuts_fail || flushed {
                    prop_assert_eq!(std::str::from_utf8(&file.store.content).unwrap(), &complete);
                }
            }
            file.store.room = 1_000_000;
            file.store.cuts_fail = false;
            file.flush().unwrap();
            prop_assert_eq!(std::str::from_utf8(&file.store.content).unwrap(), batches.concat());
        });
    }
}
