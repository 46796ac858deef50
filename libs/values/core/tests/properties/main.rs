//! Properties that hold for any input, each tested with tens of thousands of random
//! inputs.

mod assignment;
mod manager;
#[path = "../support/optimum.rs"]
mod optimum;
mod scaling;
mod speed;
mod tick;
mod worker;

use proptest::test_runner::Config;

/// Number of cases of every property. A failure prints its smallest case, to be added as
/// a test, so nothing is written to disk.
pub(crate) fn many() -> Config {
    Config { failure_persistence: None, ..Config::with_cases(10_000) }
}
