//! Properties that hold for any input, each tested with thousands of random inputs.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod clock;
mod connection;
#[path = "../support/consistent.rs"]
mod consistent;
mod cursor;
mod plan;
mod replica;
mod simulation;
mod tables;

use proptest::test_runner::Config;
use round_robin_core::tables::Waiting;
use round_robin_core::types::{ClientId, Range};

/// Number of cases of most properties. A failure prints its smallest case, to be added as a test, so
/// nothing is written to disk.
pub(crate) fn many() -> Config {
    cases(10_000)
}

/// For properties whose cases take longer.
pub(crate) fn cases(number: u32) -> Config {
    Config { failure_persistence: None, ..Config::with_cases(number) }
}

/// The name of the client with this number. The order of names is that of numbers.
pub(crate) fn client(number: usize) -> ClientId {
    ClientId::try_from(format!("client-{number:04}")).unwrap()
}

/// A client with `count` messages that wait, from `first` on.
pub(crate) fn waiting(number: usize, first: i64, count: i64) -> Waiting {
    Waiting { range: Range { client: client(number), first, last: first + count - 1 } }
}
