//! Whether the store is there, as whoever asked it last has found.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::readiness::Check;
use tokio::time::Instant;
use visits_store::Error;

/// Logs when it changes, and only then.
pub(crate) struct Presence {
    check: Check,
    up: Gauge,
    since: Instant,
    /// When the last answer came, in milliseconds since `since`.
    asked: AtomicU64,
}

/// How the gauge says that nobody has asked yet.
const UNKNOWN: i64 = -1;

impl Presence {
    pub(crate) fn new(check: Check, up: Gauge) -> Self {
        up.set(UNKNOWN);
        Self { check, up, since: Instant::now(), asked: AtomicU64::new(0) }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.get() == 1
    }

    /// How long the store has not been asked.
    pub(crate) fn quiet_for(&self) -> Duration {
        if self.up.get() == UNKNOWN {
            return Duration::MAX;
        }
        self.since.elapsed().saturating_sub(Duration::from_millis(self.asked.load(Ordering::Relaxed)))
    }

    /// Says how asking it went.
    pub(crate) fn note(&self, error: Option<&Error>) {
        let elapsed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.asked.store(elapsed, Ordering::Relaxed);
        let is_up = i64::from(error.is_none());
        let was_up = self.up.get();
        if was_up == is_up {
            return;
        }
        self.up.set(is_up);
        if let Some(error) = error {
            tracing::warn!(%error, "the store is away: visitors are asked to come back");
        } else {
            tracing::info!("the store is there: visits are counted");
            self.check.set(true);
        }
    }
}
