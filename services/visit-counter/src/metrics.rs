//! What is counted beside visits.

use std::time::Duration;

use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use kit_process::prometheus_client::registry::Registry;

/// Counters of all visit-counters in a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) counted: Counter,
    pub(crate) turned_away: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) round_trips: Counter,
    pub(crate) round_trip_seconds: Histogram,
    pub(crate) batch_size: Histogram,
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
            waiting: Gauge::default(),
            round_trips: Counter::default(),
            round_trip_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 14)),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            store_errors: Counter::default(),
            store_up: Gauge::default(),
            set_forward: Counter::default(),
        };
        registry.register("visits_counted", "Visits that got a number", metrics.counted.clone());
        registry.register("visits_turned_away", "Visits that got no number", metrics.turned_away.clone());
        registry.register("visits_waiting", "Visits that wait for the next addition", metrics.waiting.clone());
        registry.register("visits_round_trips", "Additions that the store answered", metrics.round_trips.clone());
        registry.register(
            "visits_round_trip_duration_seconds",
            "Time until the store had answered an addition",
            metrics.round_trip_seconds.clone(),
        );
        registry.register("visits_batch_size", "Visits in one addition", metrics.batch_size.clone());
        registry.register(
            "visits_store_errors",
            "Times that the store did not answer, or not as it should",
            metrics.store_errors.clone(),
        );
        registry.register(
            "visits_store_up",
            "Whether the store counted when it was last asked: 1 or 0; -1 before that",
            metrics.store_up.clone(),
        );
        registry.register(
            "visits_set_forward",
            "Times that the store had lost numbers that were handed out",
            metrics.set_forward.clone(),
        );
        metrics
    }

    /// An addition of so many visits was answered.
    pub(crate) fn added(&self, visits: usize, took: Duration) {
        self.counted.inc_by(visits as u64);
        self.round_trips.inc();
        self.round_trip_seconds.observe(took.as_secs_f64());
        self.batch_size.observe(f64::from(u32::try_from(visits).unwrap_or(u32::MAX)));
    }
}
