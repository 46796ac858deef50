//! Delays between attempts to reach the database.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first delay.
const MIN: Duration = Duration::from_millis(50);

/// The longest delay, without jitter.
const MAX: Duration = Duration::from_secs(1);

/// Delays that double from 50 ms to 1 s, with jitter and without end.
pub(super) struct Retry(ExponentialBackoff);

impl Retry {
    pub(super) fn new() -> Self {
        let delays = ExponentialBuilder::default().with_min_delay(MIN).with_max_delay(MAX);
        Self(delays.with_jitter().without_max_times().build())
    }

    /// Waits before the next attempt.
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.0.next().unwrap_or(MAX)).await;
    }
}
