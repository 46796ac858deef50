//! Properties that hold for every job under any events.

mod backoff;
mod life;
mod request;

use proptest::test_runner::Config;

/// More cases than the default: each takes microseconds.
fn many() -> Config {
    Config { cases: 20_000, failure_persistence: None, ..Config::default() }
}
