//! Metrics of a manager.

use kit_process::metrics::{Declare, histogram};
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::Histogram;
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
        Self {
            leading: registry.declare("manager_leading", "1 while this replica leads"),
            ids: registry.declare("manager_ids", "Ids in the database, as the leader sees it"),
            orphans: registry.declare("manager_orphans", "Ids without a living owner"),
            workers: registry.declare("manager_workers", "Living workers"),
            desired_replicas: registry
                .declare("manager_desired_replicas", "Replicas that the Deployment of workers asks for"),
            moves: registry.declare("manager_moves", "Ids moved"),
            optimal_moves: registry.declare("manager_optimal_moves", "Fewest moves that balance needed"),
            expired: registry.declare("manager_expired_workers", "Workers declared dead"),
            store_errors: registry.declare("manager_store_errors", "Requests that the database did not answer"),
            pass_seconds: registry.declare_as(
                "manager_pass_duration_seconds",
                "Time a pass took",
                histogram(0.001, 2.0, 12),
            ),
        }
    }
}
