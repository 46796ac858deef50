//! Metrics of running jobs.

use kit_process::prometheus_client::encoding::EncodeLabelSet;
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::family::Family;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use kit_process::prometheus_client::registry::Registry;

/// Metrics of all runners in a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) running: Gauge,
    pub(crate) attempts: Family<Ended, Counter>,
    pub(crate) seconds: Family<Kind, Histogram>,
    pub(crate) start_seconds: Histogram,
    pub(crate) stale_messages: Counter,
    pub(crate) lost_leases: Counter,
    pub(crate) store_errors: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Ended {
    pub(crate) kind: String,
    pub(crate) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
    pub(crate) kind: String,
}

impl Metrics {
    /// Registers the metrics in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            running: Gauge::default(),
            attempts: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.5, 14))),
            start_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            stale_messages: Counter::default(),
            lost_leases: Counter::default(),
            store_errors: Counter::default(),
        };
        registry.register("jobs_running", "Jobs that run in this process", metrics.running.clone());
        registry.register("jobs_attempts", "Attempts that ended, by kind and outcome", metrics.attempts.clone());
        registry.register("jobs_attempt_duration_seconds", "Duration of attempts", metrics.seconds.clone());
        registry.register(
            "jobs_start_delay_seconds",
            "Time from when a job may start to its first attempt",
            metrics.start_seconds.clone(),
        );
        registry.register(
            "jobs_stale_messages",
            "Messages that were duplicates or out of date",
            metrics.stale_messages.clone(),
        );
        registry.register(
            "jobs_lost_leases",
            "Jobs that lost their lease while they ran here",
            metrics.lost_leases.clone(),
        );
        registry.register(
            "jobs_store_errors",
            "Requests of the runner that the database did not answer",
            metrics.store_errors.clone(),
        );
        metrics
    }

    pub(crate) fn ended(&self, kind: &str, outcome: &'static str) {
        self.attempts.get_or_create(&Ended { kind: kind.to_owned(), outcome }).inc();
    }
}
