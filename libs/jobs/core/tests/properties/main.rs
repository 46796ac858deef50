//! What holds for every job, whatever happens to it.

mod backoff;
mod life;
mod request;

use proptest::test_runner::Config;

/// More cases than usual: each takes microseconds.
fn many() -> Config {
    Config { cases: 20_000, failure_persistence: None, ..Config::default() }
}
