//! Metrics of visit-counter.

use std::time::Duration;

use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
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
        let metrics = Self {
            counted: Counter::default(),
            turned_away: Counter::default(),
            batches: kit_batch::Metrics::default(),
            round_trips: Counter::default(),
            round_trip_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 14)),
            store_errors: Counter::default(),
            store_up: Gauge::default(),
            set_forward: Counter::default(),
        };
        registry.register("visits_counted", "Visits that got a number", metrics.counted.clone());
        registry.register("visits_turned_away", "Visits that got no number", metrics.turned_away.clone());
        registry.register("visits_waiting", "Visits that wait for the next addition", metrics.batches.waiting.clone());
        registry.register("visits_round_trips", "Additions that the store answered", metrics.round_trips.clone());
        registry.register(
            "visits_round_trip_duration_seconds",
            "Duration of an addition",
            metrics.round_trip_seconds.clone(),
        );
        registry.register("visits_batch_size", "Visits in one addition", metrics.batches.batch_size.clone());
        registry.register("visits_store_errors", "Requests to the store that failed", metrics.store_errors.clone());
        registry.register(
            "visits_store_up",
            "Whether the last addition or probe succeeded: 1 or 0; -1 before the first",
            metrics.store_up.clone(),
        );
        registry.register(
            "visits_set_forward",
            "Additions after which the store was found to have lost assigned numbers",
            metrics.set_forward.clone(),
        );
        metrics
    }

    /// Records a successful addition.
    pub(crate) fn added(&self, visits: u64, took: Duration) {
        self.counted.inc_by(visits);
        self.round_trips.inc();
        self.round_trip_seconds.observe(took.as_secs_f64());
    }
}
