//! Metrics of a manager.

use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use kit_process::prometheus_client::registry::Registry;

/// Metrics of a manager. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) leading: Gauge,
    pub(crate) ids: Gauge,
    pub(crate) orphans: Gauge,
    pub(crate) workers: Gauge,
    pub(crate) desired_replicas: Gauge,
    pub(crate) moves: Counter,
    pub(crate) optimal_moves: Counter,
    pub(crate) expired: Counter,
    pub(crate) store_errors: Counter,
    pub(crate) pass_seconds: Histogram,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            leading: Gauge::default(),
            ids: Gauge::default(),
            orphans: Gauge::default(),
            workers: Gauge::default(),
            desired_replicas: Gauge::default(),
            moves: Counter::default(),
            optimal_moves: Counter::default(),
            expired: Counter::default(),
            store_errors: Counter::default(),
            pass_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 12)),
        };
        registry.register("manager_leading", "1 while this replica leads", metrics.leading.clone());
        registry.register("manager_ids", "Ids in the database, as the leader sees it", metrics.ids.clone());
        registry.register("manager_orphans", "Ids without a living owner", metrics.orphans.clone());
        registry.register("manager_workers", "Living workers", metrics.workers.clone());
        registry.register(
            "manager_desired_replicas",
            "Replicas that the Deployment of workers asks for",
            metrics.desired_replicas.clone(),
        );
        registry.register("manager_moves", "Ids moved", metrics.moves.clone());
        registry.register("manager_optimal_moves", "Fewest moves that balance needed", metrics.optimal_moves.clone());
        registry.register("manager_expired_workers", "Workers declared dead", metrics.expired.clone());
        registry.register(
            "manager_store_errors",
            "Requests that the database did not answer",
            metrics.store_errors.clone(),
        );
        registry.register("manager_pass_duration_seconds", "Time a pass took", metrics.pass_seconds.clone());
        metrics
    }
}
