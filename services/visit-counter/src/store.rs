//! The store of visits, and whether it is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit_process::readiness::Check;
use tokio::time::Instant;
use visits_store::{Result, Total, VisitStore};

use crate::metrics::Metrics;

/// Time limit of a read.
const READ_TIMEOUT: Duration = Duration::from_millis(1500);

/// Time limit of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(800);

/// Time without an addition after which the store is probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Value of the gauge before the first answer.
const UNKNOWN: i64 = -1;

/// A [`VisitStore`] that records whether it answers: in the metrics, in the readiness check,
/// and in the log when that changes.
pub(crate) struct Store {
    inner: Arc<dyn VisitStore>,
    check: Check,
    metrics: Metrics,
    created: Instant,
    /// Milliseconds from `created` to the last addition or probe.
    last_used: AtomicU64,
}

impl Store {
    pub(crate) fn new(inner: Arc<dyn VisitStore>, check: Check, metrics: Metrics) -> Self {
        metrics.store_up.set(UNKNOWN);
        Self { inner, check, metrics, created: Instant::now(), last_used: AtomicU64::new(0) }
    }

    /// Adds `amount` to the counter.
    pub(crate) async fn add(&self, amount: i64, within: Duration) -> Result<Total> {
        let result = self.inner.add(amount, within).await;
        self.record(&result);
        result
    }

    /// The value of the counter.
    pub(crate) async fn read(&self) -> Result<i64> {
        let result = self.inner.read(READ_TIMEOUT).await;
        if result.is_err() {
            self.metrics.store_errors.inc();
        }
        result
    }

    /// Whether the last addition or probe succeeded.
    pub(crate) fn is_up(&self) -> bool {
        self.metrics.store_up.get() == 1
    }

    /// Probes the store while there are no additions. Never ends.
    pub(crate) async fn watch(&self) {
        loop {
            if self.idle_for() >= PROBE_INTERVAL {
                self.record(&self.inner.ping(PROBE_TIMEOUT).await);
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    fn idle_for(&self) -> Duration {
        if self.metrics.store_up.get() == UNKNOWN {
            return Duration::MAX;
        }
        self.created.elapsed().saturating_sub(Duration::from_millis(self.last_used.load(Ordering::Relaxed)))
    }

    fn record<T>(&self, result: &Result<T>) {
        let elapsed = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(elapsed, Ordering::Relaxed);
        if result.is_err() {
            self.metrics.store_errors.inc();
        }
        let is_up = i64::from(result.is_ok());
        let was_up = self.metrics.store_up.get();
        if was_up == is_up {
            return;
        }
        self.metrics.store_up.set(is_up);
        match result {
            Ok(_) => {
                tracing::info!("the store is up: visits are counted");
                self.check.set(true);
            }
            Err(error) => tracing::warn!(%error, "the store is down: visits are answered with 503"),
        }
    }
}
