//! A disk that fails, or waits, on demand.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use counting_log::{Disk, FileDisk, Folder};
use counting_server::{BoxedDisk, OpenDisk};

/// What the disk does at the moment. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    /// Whether syncs wait.
    is_held: bool,
    /// Number of syncs that have begun.
    begun: u64,
    /// Bytes of the file that are durable.
    durable: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file cannot be opened: the volume is not there.
    Open,
    /// The disk is full. A part of the bytes is written.
    Write,
    /// The disk loses what was written since the last sync.
    Sync,
    /// Nothing can be read.
    Read,
}

impl Faults {
    /// From now on, the disk has this fault.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// From now on, syncs wait, or not.
    pub(crate) fn hold(&self, is_held: bool) {
        self.lock().is_held = is_held;
        self.0.1.notify_all();
    }

    /// Number of syncs that have begun.
    pub(crate) fn syncs(&self) -> u64 {
        self.lock().begun
    }

    /// Bytes of the file that are durable.
    pub(crate) fn durable(&self) -> u64 {
        self.lock().durable
    }

    /// Opens the file in `folder`, on this disk.
    pub(crate) fn behind(&self, folder: Folder) -> OpenDisk {
        let faults = self.clone();
        Arc::new(move || {
            faults.check(Fault::Open)?;
            Ok(Box::new(FaultyDisk { disk: folder.disk()?, faults: faults.clone(), unsynced: Vec::new() }) as BoxedDisk)
        })
    }

    fn check(&self, fault: Fault) -> io::Result<()> {
        if self.lock().fault != Some(fault) {
            return Ok(());
        }
        let kind = if fault == Fault::Write { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Err(io::Error::new(kind, format!("{fault:?} fails on purpose")))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }
}

struct FaultyDisk {
    disk: FileDisk,
    faults: Faults,
    /// Offset and length of what was written since the last sync.
    unsynced: Vec<(u64, usize)>,
}

impl Disk for FaultyDisk {
    fn reopen(&mut self) -> io::Result<()> {
        self.faults.check(Fault::Open)?;
        self.disk.reopen()
    }

    fn length(&self) -> io::Result<u64> {
        self.faults.check(Fault::Read)?;
        self.disk.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.check(Fault::Read)?;
        self.disk.read_at(buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let result = self.faults.check(Fault::Write);
        let written = if result.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.disk.write_at(written, offset)?;
        self.unsynced.push((offset, written.len()));
        result
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.disk.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.faults.lock();
        state.begun += 1;
        drop(self.faults.0.1.wait_while(state, |state| state.is_held).unwrap());
        if let Err(error) = self.faults.check(Fault::Sync) {
            for (offset, length) in self.unsynced.drain(..) {
                self.disk.write_at(&vec![0; length], offset)?;
            }
            return Err(error);
        }
        self.disk.sync()?;
        self.unsynced.clear();
        self.faults.lock().durable = self.disk.length()?;
        Ok(())
    }
}
