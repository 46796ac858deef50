//! Metrics of workers.

use kit_process::metrics::{Declare, histogram};
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::Histogram;
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
        Self {
            owned: registry.declare("worker_owned_ids", "Ids owned at the last tick"),
            row_ticks: registry.declare("worker_row_ticks", "Rows changed by ticks"),
            tick_seconds: registry.declare_as(
                "worker_tick_duration_seconds",
                "Time a tick took",
                histogram(0.001, 2.0, 12),
            ),
            late_ticks: registry.declare("worker_late_ticks", "Ticks that skipped a second, to be caught up"),
            fenced: registry.declare(
                "worker_fenced",
                "Times that a worker registered again because it was declared dead or its registration was lost",
            ),
            store_errors: registry.declare("worker_store_errors", "Commands that the database did not answer"),
        }
    }
}
