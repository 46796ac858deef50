//! Metrics of running jobs.

use kit_process::metrics::{Declare, histogram};
use kit_process::prometheus_client::encoding::EncodeLabelSet;
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::family::Family;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::Histogram;
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
        Self {
            running: registry.declare("jobs_running", "Jobs that run in this process"),
            attempts: registry.declare("jobs_attempts", "Attempts that ended, by kind and outcome"),
            seconds: registry.declare_as(
                "jobs_attempt_duration_seconds",
                "Duration of attempts",
                Family::new_with_constructor(|| histogram(0.001, 2.5, 14)),
            ),
            start_seconds: registry.declare_as(
                "jobs_start_delay_seconds",
                "Time from when a job may start to its first attempt",
                histogram(0.001, 2.0, 16),
            ),
            stale_messages: registry.declare("jobs_stale_messages", "Messages that were duplicates or out of date"),
            lost_leases: registry.declare("jobs_lost_leases", "Jobs that lost their lease while they ran here"),
            store_errors: registry
                .declare("jobs_store_errors", "Requests of the runner that the database did not answer"),
        }
    }

    pub(crate) fn ended(&self, kind: &str, outcome: &'static str) {
        self.attempts.get_or_create(&Ended { kind: kind.to_owned(), outcome }).inc();
    }
}
