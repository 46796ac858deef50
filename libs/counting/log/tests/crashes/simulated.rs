//! A disk that crashes: what was written and not synced may be on it or not, block by block.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::rc::Rc;

use counting_log::Disk;

/// Bytes of a block, which is on the disk as a whole or not at all. Small, so that a line has
/// several.
pub(crate) const BLOCK: usize = 8;

/// A handle of the disk. Clones share it.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Rc<RefCell<State>>);

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// What is on the disk.
    durable: Vec<u8>,
    /// What the system's cache holds, and reads return.
    cached: Vec<u8>,
    /// Blocks that were written since the last sync.
    dirty: BTreeSet<usize>,
    /// Operations that change the disk, so far.
    operations: usize,
    /// The operations that fail, and how.
    faults: Vec<Fault>,
}

/// An operation that fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// How many operations come before it.
    pub(crate) after: usize,
    /// How many bytes of a write are written nevertheless.
    pub(crate) written: usize,
    /// Which blocks of a sync reach the disk nevertheless.
    pub(crate) synced: Chance,
    /// Whether all later operations fail, too: the process was killed.
    pub(crate) last: bool,
}

/// Which of several blocks reach the disk, and how much of the length: a number whose bits
/// decide.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chance {
    pub(crate) blocks: u64,
    /// From 0, the length of the disk, to 255, the length of the cache.
    pub(crate) length: u8,
}

impl SimulatedDisk {
    pub(crate) fn new(contents: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(State { durable: contents.clone(), cached: contents, ..State::default() })))
    }

    /// The same disk for the next process. The cache is as it was.
    pub(crate) fn after_kill(&self, faults: Vec<Fault>) -> Self {
        let state = self.0.borrow();
        let state = State { operations: 0, faults, ..state.clone() };
        Self(Rc::new(RefCell::new(state)))
    }

    /// The disk after a loss of power.
    pub(crate) fn after_crash(&self, chance: Chance, faults: Vec<Fault>) -> Self {
        let mut state = self.0.borrow().clone();
        state.write_back(chance);
        Self::new(state.durable).after_kill(faults)
    }

    /// Every disk that a loss of power may leave now.
    pub(crate) fn after_any_crash(&self) -> BTreeSet<Vec<u8>> {
        let state = self.0.borrow();
        let blocks: Vec<usize> = state.dirty.iter().copied().collect();
        assert!(blocks.len() < 12, "{} blocks have too many subsets", blocks.len());
        let (from, to) = (state.durable.len().min(state.cached.len()), state.durable.len().max(state.cached.len()));
        let mut images = BTreeSet::new();
        for chosen in 0..1_u64 << blocks.len() {
            for length in from..=to {
                let mut after = state.clone();
                after.write_blocks(chosen, length);
                images.insert(after.durable);
            }
        }
        images
    }

    pub(crate) fn contents(&self) -> Vec<u8> {
        self.0.borrow().cached.clone()
    }

    /// What is on the disk for sure.
    pub(crate) fn durable(&self) -> Vec<u8> {
        self.0.borrow().durable.clone()
    }

    /// Operations that have changed the disk.
    pub(crate) fn operations(&self) -> usize {
        self.0.borrow().operations
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.borrow();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        write!(f, "{:?} on the disk, {:?} in the cache", text(&state.durable), text(&state.cached))
    }
}

impl State {
    /// Counts an operation, and returns its fault.
    fn next(&mut self) -> Option<Fault> {
        let now = self.operations;
        self.operations += 1;
        let hits = |fault: &&Fault| fault.after == now || (fault.last && fault.after < now);
        self.faults.iter().find(hits).map(|fault| {
            // Nothing happens after the death of the process.
            if fault.after < now { Fault { written: 0, synced: Chance::default(), ..*fault } } else { *fault }
        })
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        let length = self.cached.len().max(end);
        self.cached.resize(length, 0);
        self.cached[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / BLOCK..=(end - 1) / BLOCK);
    }

    /// Writes some of the dirty blocks to the disk.
    fn write_back(&mut self, chance: Chance) {
        let (from, to) = (self.durable.len(), self.cached.len());
        let length = if from <= to {
            from + (to - from) * usize::from(chance.length) / 255
        } else {
            from - (from - to) * usize::from(chance.length) / 255
        };
        self.write_blocks(chance.blocks, length);
    }

    /// Writes the dirty blocks whose bit is set, and sets the length of the disk.
    fn write_blocks(&mut self, chosen: u64, length: usize) {
        let whole = self.durable.len().max(self.cached.len());
        self.durable.resize(whole, 0);
        for (index, block) in self.dirty.iter().enumerate() {
            let end = ((block + 1) * BLOCK).min(self.cached.len());
            if chosen >> (index % 64) & 1 == 1 && block * BLOCK < end {
                self.durable[block * BLOCK..end].copy_from_slice(&self.cached[block * BLOCK..end]);
            }
        }
        self.durable.truncate(length);
    }

    fn sync(&mut self, fault: Option<Fault>) -> io::Result<()> {
        let result = match fault {
            None => {
                self.write_back(Chance { blocks: u64::MAX, length: 255 });
                Ok(())
            }
            Some(fault) => {
                self.write_back(fault.synced);
                Err(io::Error::other("a fault of a sync"))
            }
        };
        // After a kill, the system still writes the blocks. After an error, it does not.
        if !fault.is_some_and(|fault| fault.last) {
            self.dirty.clear();
        }
        result
    }
}

impl Disk for SimulatedDisk {
    fn reopen(&mut self) -> io::Result<()> {
        match self.0.borrow_mut().next() {
            None => Ok(()),
            Some(_) => Err(io::Error::other("a fault when opening")),
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.borrow().cached.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.0.borrow();
        let start = usize::try_from(offset).expect("a small disk").min(state.cached.len());
        // Fewer than asked for, as the system may do.
        let count = buffer.len().min(state.cached.len() - start).min(29);
        buffer[..count].copy_from_slice(&state.cached[start..start + count]);
        Ok(count)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let offset = usize::try_from(offset).expect("a small disk");
        match state.next() {
            None => {
                state.write(bytes, offset);
                Ok(())
            }
            Some(fault) => {
                state.write(&bytes[..fault.written.min(bytes.len())], offset);
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let fault = state.next();
        // Even or odd: a failed operation has shortened the file in the cache or not.
        if fault.is_none_or(|fault| fault.written % 2 == 1) {
            state.cached.truncate(usize::try_from(length).expect("a small disk"));
        }
        state.sync(fault)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let fault = state.next();
        state.sync(fault)
    }
}
