//! Metrics of one batcher.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Metrics of one [`Batcher`](crate::Batcher). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Items that wait for a worker.
    pub waiting: Gauge,
    /// Items per batch.
    pub batch_size: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { waiting: Gauge::default(), batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)) }
    }
}

impl Metrics {
    /// Registers the metrics, each under a name and with a help text.
    pub fn register(registry: &mut Registry, waiting: [&str; 2], batch_size: [&str; 2]) -> Self {
        let metrics = Self::default();
        registry.register(waiting[0], waiting[1], metrics.waiting.clone());
        registry.register(batch_size[0], batch_size[1], metrics.batch_size.clone());
        metrics
    }

    pub(crate) fn set_waiting(&self, items: usize) {
        self.waiting.set(i64::try_from(items).unwrap_or(i64::MAX));
    }

    pub(crate) fn record_batch(&self, items: usize) {
        self.batch_size.observe(f64::from(u32::try_from(items).unwrap_or(u32::MAX)));
    }
}
