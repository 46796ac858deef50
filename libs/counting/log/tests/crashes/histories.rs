//! Random histories of appends, errors, kills and losses of power.

use counting_log::{Log, Repair};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::open;
use crate::simulated::{Chance, Fault, SimulatedDisk};

/// One life of a process, and its end.
#[derive(Debug, Clone)]
struct Life {
    /// How many numbers each append adds.
    appends: Vec<u64>,
    /// Which operations fail.
    faults: Vec<Fault>,
    /// Which unsynced blocks survive the end; `None` for a kill, which they all survive.
    crash: Option<Chance>,
}

fn chance() -> impl Strategy<Value = Chance> {
    (any::<u64>(), any::<u8>()).prop_map(|(blocks, length)| Chance { blocks, length })
}

fn fault() -> impl Strategy<Value = Fault> {
    (0_usize..24, 0_usize..120, chance(), prop::bool::weighted(0.2)).prop_map(|(after, written, synced, last)| Fault {
        after,
        written,
        synced,
        last,
    })
}

fn life() -> impl Strategy<Value = Life> {
    (vec(0_u64..9, 0..8), vec(fault(), 0..6), prop::option::of(chance())).prop_map(|(appends, faults, crash)| Life {
        appends,
        faults,
        crash,
    })
}

/// Runs one life. Returns the last number that it reported as stored.
fn live(life: &Life, opened: (Log<SimulatedDisk>, Option<Repair>)) -> u64 {
    let mut log = opened.0;
    for count in &life.appends {
        let wanted = log.last() + count;
        if log.append(wanted).is_ok() {
            assert_eq!(log.last(), wanted);
        }
    }
    recovers(life, &mut log);
    log.last()
}

/// Unless the process was killed, the log works again when the errors are over: each attempt
/// meets one at least.
fn recovers(life: &Life, log: &mut Log<SimulatedDisk>) {
    if life.faults.iter().all(|fault| !fault.last) {
        let wanted = log.last() + 1;
        let attempts = life.faults.len() + 1;
        assert!((0..attempts).any(|_| log.append(wanted).is_ok()), "{attempts} attempts fail");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_stored_is_lost(batch in 1_u64..5, lives in vec(life(), 1..6)) {
        let (mut disk, mut stored) = (SimulatedDisk::new(Vec::new()), 0);
        for life in &lives {
            disk = disk.after_kill(life.faults.clone());
            // An error of the disk may prevent the start. Nothing is stored then.
            if let Ok(opened) = Log::open(disk.clone(), batch) {
                prop_assert!(opened.0.last() >= stored, "{} of {stored} are left", opened.0.last());
                stored = live(life, opened);
            }
            if let Some(chance) = life.crash {
                disk = disk.after_crash(chance, Vec::new());
            }
            // At any moment, a loss of power leaves all that was stored.
            open(&disk.after_crash(Chance::default(), Vec::new()), batch, stored);
            open(&disk.after_crash(Chance { blocks: 0x5555_5555_5555_5555, length: 255 }, Vec::new()), batch, stored);
        }
        let (mut log, _) = open(&disk.after_kill(Vec::new()), batch, stored);
        log.append(stored + 20).unwrap();
    }
}
