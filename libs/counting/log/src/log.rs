//! The log: appends lines, and trusts only what was synced.

use counting_words::lines::{compare, length, push};

use crate::read::{corrupt, read, read_fully};
use crate::scan::scan;
use crate::{Disk, Error, Operation, Repair};

/// Lines that are written between two syncs at most. A file must not be opened with fewer
/// than it was written with.
pub const BATCH: u64 = 1024;

/// The lines of a file.
#[derive(Debug)]
pub struct Log<D> {
    disk: D,
    /// Lines that are written between two syncs at most.
    batch: u64,
    /// The last number that is durable.
    last: u64,
    /// Whether the file ends after the last number, and every byte up to there is durable.
    settled: bool,
    /// The text that is written next; kept to reuse its memory.
    text: Vec<u8>,
}

impl<D: Disk> Log<D> {
    /// Checks the whole file, repairs its end, and makes it durable. `batch` is usually
    /// [`BATCH`].
    pub fn open(disk: D, batch: u64) -> Result<(Self, Option<Repair>), Error> {
        let found = scan(&disk, batch)?;
        let mut log = Self { disk, batch, last: found.last, settled: false, text: Vec::new() };
        log.settle()?;
        Ok((log, found.repair))
    }

    /// The last number that is stored; 0 if none.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Appends the lines up to that of `last`, and returns when they are durable. Lines that
    /// are stored already are not written again.
    ///
    /// # Errors
    /// Some of the lines may be stored: [`Log::last`] tells which. The next call recovers the
    /// file first. If another program has removed or shortened the file, that call writes its lines
    /// again; after a failure of that, [`Log::last`] may be lower than before.
    pub fn append(&mut self, last: u64) -> Result<(), Error> {
        if !self.settled {
            self.recover()?;
        }
        while self.last < last {
            self.append_batch(last.min(self.last + self.batch))?;
        }
        Ok(())
    }

    /// Reads up to `limit` stored lines from line `from` on, which is at least 1.
    pub fn read(&self, from: u64, limit: u64) -> Result<String, Error> {
        read(|buffer, offset| self.disk.read_at(buffer, offset), self.last, from, limit)
    }

    fn append_batch(&mut self, last: u64) -> Result<(), Error> {
        self.settled = false;
        let (expected, found) = (length(self.last), self.disk.length().map_err(Operation::Read.failed())?);
        if expected != found {
            return Err(Error::Changed { expected, found });
        }
        self.write(self.last + 1, last)?;
        self.last = last;
        self.settled = true;
        Ok(())
    }

    /// Opens the file again after an error, and verifies it near its end. What comes before
    /// was synced long before the error.
    fn recover(&mut self) -> Result<(), Error> {
        self.disk.reopen().map_err(Operation::Open.failed())?;
        if self.disk.length().map_err(Operation::Read.failed())? < length(self.last) {
            // Another program has removed or shortened the file. The lines are known, and the next
            // append writes them again.
            self.last = scan(&self.disk, self.batch)?.last;
        }
        let rewritten = self.last.saturating_sub(self.batch);
        let verified = rewritten.saturating_sub(self.batch);
        let (start, end) = (length(verified), length(rewritten));
        let mut text = vec![0; usize::try_from(end - start).unwrap_or(0)];
        let read_at = |buffer: &mut [u8], offset| self.disk.read_at(buffer, offset);
        let filled = read_fully(read_at, &mut text, start).map_err(Operation::Read.failed())?;
        let right = compare(verified + 1, &text[..filled]);
        if right.bytes < text.len() {
            return Err(corrupt(verified + 1 + right.lines, &text[right.bytes..filled]));
        }
        self.settle()
    }

    /// Cuts off what comes after the last number, and writes the last batch of lines again:
    /// only they may be in the page cache and not on the disk.
    fn settle(&mut self) -> Result<(), Error> {
        let end = length(self.last);
        if self.disk.length().map_err(Operation::Read.failed())? > end {
            self.disk.truncate(end).map_err(Operation::Truncate.failed())?;
        }
        self.write(self.last.saturating_sub(self.batch) + 1, self.last)?;
        self.settled = true;
        Ok(())
    }

    /// Writes lines at their place, and makes them durable.
    fn write(&mut self, first: u64, last: u64) -> Result<(), Error> {
        self.text.clear();
        push(first, last, &mut self.text);
        self.disk.write_at(&self.text, length(first - 1)).map_err(Operation::Write.failed())?;
        self.disk.sync().map_err(Operation::Sync.failed())
    }
}
