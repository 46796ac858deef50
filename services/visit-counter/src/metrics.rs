//! Metrics of visit-counter.

use std::time::Duration;

use kit_process::metrics::{Declare, histogram};
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::Histogram;
use kit_process::prometheus_client::registry::Registry;

/// Metrics of visit-counter. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) counted: Counter,
    pub(crate) turned_away: Counter,
    pub(crate) batches: kit_batch::Metrics,
    pub(crate) round_trips: Counter,
    pub(crate) round_trip_seconds: Histogram,
    pub(crate) store_errors: Counter,
    pub(crate) store_up: Gauge,
    pub(crate) set_forward: Counter,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            counted: registry.declare("visits_counted", "Visits that got a number"),
            turned_away: registry.declare("visits_turned_away", "Visits that got no number"),
            batches: kit_batch::Metrics::register(
                registry,
                ["visits_waiting", "Visits that wait for the next addition"],
                ["visits_batch_size", "Visits in one addition"],
            ),
            round_trips: registry.declare("visits_round_trips", "Additions that the store answered"),
            round_trip_seconds: registry.declare_as(
                "visits_round_trip_duration_seconds",
                "Duration of an addition",
                histogram(0.000_1, 2.0, 14),
            ),
            store_errors: registry.declare("visits_store_errors", "Requests to the store that failed"),
            store_up: registry.declare(
                "visits_store_up",
                "Whether the last addition or probe succeeded: 1 or 0; -1 before the first",
            ),
            set_forward: registry.declare(
                "visits_set_forward",
                "Additions after which the store was found to have lost assigned numbers",
            ),
        }
    }

    /// Records a successful addition.
    pub(crate) fn added(&self, visits: u64, took: Duration) {
        self.counted.inc_by(visits);
        self.round_trips.inc();
        self.round_trip_seconds.observe(took.as_secs_f64());
    }
}
