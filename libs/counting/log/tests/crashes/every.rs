//! Every crash point of appends and repairs at small sizes: each operation is interrupted
//! after each byte, and each subset of unsynced blocks with each length survives.

use std::collections::BTreeSet;

use counting_log::Log;

use crate::simulated::{Chance, Fault, SimulatedDisk};
use crate::{open, text};

/// Lines of a batch.
const BATCH: u64 = 2;

/// Bytes of the longest write: two lines above 100.
const LONGEST_WRITE: usize = 42;

/// The process dies in this operation, after so many bytes.
const fn death(after: usize, written: usize) -> Fault {
    Fault { after, written, synced: Chance { blocks: 0, length: 0 }, last: true }
}

/// Every disk that appending up to `last`, interrupted anywhere by a loss of power, may leave,
/// with the number that was stored before.
fn interrupted(stored: u64, last: u64) -> BTreeSet<(u64, Vec<u8>)> {
    let mut images = BTreeSet::new();
    for operation in 0.. {
        for written in 0..=LONGEST_WRITE {
            let disk = SimulatedDisk::new(text(stored));
            let (mut log, _) = Log::open(disk.after_kill(Vec::new()), BATCH).expect("the file is whole");
            drop(log);
            let disk = disk.after_kill(vec![death(operation, written)]);
            let opened = Log::open(disk.clone(), BATCH);
            if let Ok(opened) = opened {
                log = opened.0;
                if log.append(last).is_ok() {
                    return images;
                }
                images.extend(disk.after_any_crash().into_iter().map(|image| (log.last(), image)));
            } else {
                images.extend(disk.after_any_crash().into_iter().map(|image| (stored, image)));
            }
        }
    }
    images
}

/// Every disk that a repair of `image`, interrupted anywhere by a loss of power, may leave.
fn interrupted_repairs(image: &[u8]) -> BTreeSet<Vec<u8>> {
    let whole = SimulatedDisk::new(image.to_vec());
    let _ = Log::open(whole.clone(), BATCH).expect("the file can be repaired");
    let mut images = BTreeSet::new();
    for operation in 0..whole.operations() {
        for written in 0..=LONGEST_WRITE {
            let disk = SimulatedDisk::new(image.to_vec()).after_kill(vec![death(operation, written)]);
            assert!(Log::open(disk.clone(), BATCH).is_err());
            images.extend(disk.after_any_crash());
        }
    }
    images
}

#[test]
fn every_crash_is_repaired() {
    let (mut crashes, mut repairs) = (0, 0);
    for stored in [0, 1, 2, 5, 18, 99] {
        assert!(text(stored + 3).len() - text(stored + 1).len() <= LONGEST_WRITE);
        let mut seen = BTreeSet::new();
        for (stored, image) in interrupted(stored, stored + 3) {
            let (log, _) = open(&SimulatedDisk::new(image.clone()), BATCH, stored);
            drop(log);
            crashes += 1;
            for again in interrupted_repairs(&image) {
                if seen.insert((stored, again.clone())) {
                    open(&SimulatedDisk::new(again), BATCH, stored);
                    repairs += 1;
                }
            }
        }
    }
    println!("{crashes} states after a crash, and {repairs} after a crash during the repair");
    assert!(crashes > 100 && repairs > 100, "{crashes}, {repairs}");
}
