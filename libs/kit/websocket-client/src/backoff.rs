//! Exponential backoff with full jitter.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Delays, each a random part of a limit that doubles each time. So clients that were disconnected
/// together do not connect together again.
#[derive(Debug)]
pub struct Backoff {
    limits: ExponentialBuilder,
    next: ExponentialBackoff,
}

impl Backoff {
    /// Delays whose limits grow from `min` to `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        let limits = ExponentialBuilder::new().with_min_delay(min).with_max_delay(max).without_max_times();
        Self { limits, next: limits.build() }
    }

    /// The next delay.
    pub fn delay(&mut self, random: &mut fastrand::Rng) -> Duration {
        // The number of delays is unlimited, so there is always a next one.
        self.next.next().unwrap_or_default().mul_f64(random.f64())
    }

    /// Starts over with the smallest limit.
    pub fn reset(&mut self) {
        self.next = self.limits.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_double_and_the_delays_are_spread_below_them() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut longest = [Duration::ZERO; 8];
        let mut sum = Duration::ZERO;
        for _ in 0..1000 {
            backoff.reset();
            for longest in &mut longest {
                let delay = backoff.delay(&mut random);
                *longest = (*longest).max(delay);
                sum += delay;
            }
        }
        for (longest, limit) in longest.iter().zip([50, 100, 200, 400, 800, 1000, 1000, 1000]) {
            let limit = Duration::from_millis(limit);
            assert!(*longest <= limit && *longest > limit.mul_f64(0.9), "{longest:?} of {limit:?}");
        }
        let mean = sum / 1000;
        assert!(mean.abs_diff(Duration::from_millis(4550 / 2)) < Duration::from_millis(100), "{mean:?}");
    }
}
