//! The delay before the next attempt.

/// Exponential backoff: the delay doubles with every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest delay after the first attempt, in milliseconds.
    pub initial_ms: i64,
    /// Longest delay after any attempt, in milliseconds.
    pub max_ms: i64,
}

impl Default for Backoff {
    /// About 1 s, 2 s, 4 s and so on, up to 10 minutes.
    fn default() -> Self {
        Self { initial_ms: 1000, max_ms: 600_000 }
    }
}

impl Backoff {
    /// The delay after attempt number `attempt` (the first is 1), in milliseconds.
    ///
    /// The delay lies between half of the longest delay and the longest delay.
    /// `random` chooses the point, so that jobs that failed together are not retried
    /// together.
    #[must_use]
    pub fn delay_ms(&self, attempt: u32, random: u64) -> i64 {
        let doublings = attempt.saturating_sub(1).min(62);
        let longest = self.initial_ms.max(0).saturating_mul(1 << doublings).min(self.max_ms.max(0));
        let half = longest / 2;
        let spread = (longest - half).unsigned_abs() + 1;
        half.saturating_add_unsigned(random % spread)
    }
}
