//! Metrics of workers.

use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use kit_process::prometheus_client::registry::Registry;

/// Metrics of all workers in a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) owned: Gauge,
    pub(crate) row_ticks: Counter,
    pub(crate) tick_seconds: Histogram,
    pub(crate) late_ticks: Counter,
    pub(crate) fenced: Counter,
    pub(crate) store_errors: Counter,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            owned: Gauge::default(),
            row_ticks: Counter::default(),
            tick_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 12)),
            late_ticks: Counter::default(),
            fenced: Counter::default(),
            store_errors: Counter::default(),
        };
        registry.register("worker_owned_ids", "Ids owned at the last tick", metrics.owned.clone());
        registry.register("worker_row_ticks", "Rows changed by ticks", metrics.row_ticks.clone());
        registry.register("worker_tick_duration_seconds", "Time a tick took", metrics.tick_seconds.clone());
        registry.register(
            "worker_late_ticks",
            "Ticks that skipped a second, to be caught up",
            metrics.late_ticks.clone(),
        );
        registry.register(
            "worker_fenced",
            "Times a worker was declared dead and registered again",
            metrics.fenced.clone(),
        );
        registry.register(
            "worker_store_errors",
            "Commands that the database did not answer",
            metrics.store_errors.clone(),
        );
        metrics
    }
}
