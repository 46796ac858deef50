//! Whatever a crash or an error leaves of the file, the log repairs it to the beginning of the
//! count that holds all that it reported as stored.

mod every;
mod histories;
mod simulated;

use counting_log::{Log, Repair};
use counting_words::lines::{length, push};
use simulated::SimulatedDisk;

/// Opens the file, and checks that nothing is missing or wrong. Returns the log.
fn open(disk: &SimulatedDisk, batch: u64, stored: u64) -> (Log<SimulatedDisk>, Option<Repair>) {
    let (log, repair) = Log::open(disk.clone(), batch).unwrap_or_else(|error| panic!("{error}: {disk:?}"));
    assert!(log.last() >= stored, "{stored} were stored, and {} are left of {disk:?}", log.last());
    assert_eq!(disk.contents(), text(log.last()));
    assert_eq!(disk.durable(), text(log.last()), "what is reported as stored is on the disk");
    (log, repair)
}

/// The whole file with this last number.
fn text(last: u64) -> Vec<u8> {
    let mut text = Vec::new();
    push(1, last, &mut text);
    assert_eq!(text.len() as u64, length(last));
    text
}
