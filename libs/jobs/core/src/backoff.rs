//! When a job that failed is tried again.

/// Delays that double from attempt to attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest delay after the first attempt, in milliseconds.
    pub first_ms: i64,
    /// The longest delay after any attempt, in milliseconds.
    pub most_ms: i64,
}

impl Default for Backoff {
    /// Around 1 s, 2 s, 4 s and so on, up to 10 minutes.
    fn default() -> Self {
        Self { first_ms: 1000, most_ms: 600_000 }
    }
}

impl Backoff {
    /// How long to wait after the attempt of this number, the first being 1, in
    /// milliseconds: between half of the longest delay and the whole, as `random`
    /// says, so that what failed together is not tried again together.
    #[must_use]
    pub fn delay_ms(&self, attempt: u32, random: u64) -> i64 {
        let doublings = attempt.saturating_sub(1).min(62);
        let longest = self.first_ms.max(0).saturating_mul(1 << doublings).min(self.most_ms.max(0));
        let half = longest / 2;
        let spread = (longest - half).unsigned_abs() + 1;
        half.saturating_add_unsigned(random % spread)
    }
}
