//! Properties that hold for any input, each tested with thousands of random inputs.

use proptest::test_runner::Config;

/// Number of cases of most properties. A failure prints its smallest case, to be added as a test, so
/// nothing is written to disk.
pub(crate) fn many() -> Config {
    Config { failure_persistence: None, ..Config::with_cases(10_000) }
}
