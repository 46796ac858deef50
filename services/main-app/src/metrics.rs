//! Metrics of main-app.

use kit_process::metrics::Declare;
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::family::Family;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::registry::Registry;
use kit_web::requests;

/// Metrics of main-app. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) requests: requests::Metrics,
    pub(crate) accept_batches: kit_batch::Metrics,
    pub(crate) publish_batches: kit_batch::Metrics,
    pub(crate) accepted: Counter,
    pub(crate) shed: Counter,
    pub(crate) published: Counter,
    pub(crate) publish_failures: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) store_errors: Counter,
    pub(crate) in_state: Family<[(&'static str, &'static str); 1], Gauge>,
    pub(crate) queue_depth: Family<[(&'static str, &'static str); 1], Gauge>,
    pub(crate) oldest_due_seconds: Gauge,
}

impl Metrics {
    /// Registers the metrics in `registry`. All listeners of a process share `requests`.
    pub fn register(registry: &mut Registry, requests: requests::Metrics) -> Self {
        Self {
            requests,
            accept_batches: kit_batch::Metrics::register(
                registry,
                ["jobs_accept_waiting", "Requests that wait for the next commit"],
                ["jobs_accept_batch_size", "Requests in one commit"],
            ),
            publish_batches: kit_batch::Metrics::register(
                registry,
                ["jobs_publish_waiting", "Messages that wait to be published"],
                ["jobs_publish_batch_size", "Messages published together"],
            ),
            accepted: registry.declare("jobs_accepted", "Jobs that were accepted"),
            shed: registry.declare("jobs_shed", "Requests that were turned away because too many jobs waited"),
            published: registry.declare("jobs_published", "Messages that the broker confirmed"),
            publish_failures: registry.declare("jobs_publish_failures", "Messages that the broker did not confirm"),
            dead_letters: registry.declare("jobs_dead_letters", "Messages that no worker took"),
            store_errors: registry
                .declare("jobs_accept_store_errors", "Requests of main-app that the database did not answer"),
            in_state: registry.declare("jobs_in_state", "Jobs that have not ended, and those that failed"),
            queue_depth: registry.declare("jobs_queue_depth", "Messages that wait in the broker"),
            oldest_due_seconds: registry.declare(
                "jobs_oldest_due_seconds",
                "Seconds that the oldest job has waited since it could have started",
            ),
        }
    }
}
