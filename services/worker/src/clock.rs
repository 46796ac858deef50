//! The database's clock, derived from the monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// Maps the database's clock to the monotonic clock. The local wall clock is never
/// read.
#[derive(Debug, Default)]
pub(crate) struct DatabaseClock {
    /// An instant, and the database's clock at it, in milliseconds since the Unix epoch.
    reading: Option<(Instant, i64)>,
}

impl DatabaseClock {
    /// Records that the database's clock showed `now_ms` between `asked` and now. Assumes
    /// the middle, so the error is at most half a round trip.
    pub(crate) fn set(&mut self, now_ms: i64, asked: Instant) {
        self.reading = Some((asked + asked.elapsed() / 2, now_ms));
    }

    /// Waits until the database's clock shows `at`, in milliseconds since the Unix epoch;
    /// returns at once for `None`, for a time in the past and before the first reading.
    pub(crate) async fn sleep_until(&self, at: Option<i64>) {
        if let (Some(at), Some((instant, now_ms))) = (at, self.reading) {
            let ahead = u64::try_from(at - now_ms).unwrap_or(0);
            tokio::time::sleep_until(instant + Duration::from_millis(ahead)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleeps_as_long_as_the_database_says() {
        let mut clock = DatabaseClock::default();
        let start = Instant::now();
        clock.sleep_until(Some(5)).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "without a reading it is time to ask");

        clock.set(10_000, Instant::now());
        clock.sleep_until(Some(10_750)).await;
        assert_eq!(start.elapsed().as_millis(), 750);
        clock.sleep_until(Some(10_000)).await;
        clock.sleep_until(None).await;
        assert_eq!(start.elapsed().as_millis(), 750, "what is past does not wait");
    }
}
