//! What holds for any input: tens of thousands of random ones each.

mod assignment;
mod manager;
#[path = "../support/optimum.rs"]
mod optimum;
mod scaling;
mod speed;
mod tick;
mod worker;

use proptest::test_runner::Config;

/// As many cases as every property gets. A failure prints its smallest case, to
/// be added as a test, so nothing is written to disk.
pub(crate) fn many() -> Config {
    Config { failure_persistence: None, ..Config::with_cases(10_000) }
}
