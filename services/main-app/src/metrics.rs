//! Metrics of main-app.

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
        let metrics = Self {
            requests,
            accept_batches: kit_batch::Metrics::default(),
            publish_batches: kit_batch::Metrics::default(),
            accepted: Counter::default(),
            shed: Counter::default(),
            published: Counter::default(),
            publish_failures: Counter::default(),
            dead_letters: Counter::default(),
            store_errors: Counter::default(),
            in_state: Family::default(),
            queue_depth: Family::default(),
            oldest_due_seconds: Gauge::default(),
        };
        let (accept, publish) = (&metrics.accept_batches, &metrics.publish_batches);
        registry.register("jobs_accept_waiting", "Requests that wait for the next commit", accept.waiting.clone());
        registry.register("jobs_accept_batch_size", "Requests in one commit", accept.batch_size.clone());
        registry.register("jobs_publish_waiting", "Messages that wait to be published", publish.waiting.clone());
        registry.register("jobs_publish_batch_size", "Messages published together", publish.batch_size.clone());
        registry.register("jobs_accepted", "Jobs that were accepted", metrics.accepted.clone());
        registry.register(
            "jobs_shed",
            "Requests that were turned away because too many jobs waited",
            metrics.shed.clone(),
        );
        registry.register("jobs_published", "Messages that the broker confirmed", metrics.published.clone());
        registry.register(
            "jobs_publish_failures",
            "Messages that the broker did not confirm",
            metrics.publish_failures.clone(),
        );
        registry.register("jobs_dead_letters", "Messages that no worker took", metrics.dead_letters.clone());
        registry.register(
            "jobs_accept_store_errors",
            "Requests of main-app that the database did not answer",
            metrics.store_errors.clone(),
        );
        registry.register("jobs_in_state", "Jobs that have not ended, and those that failed", metrics.in_state.clone());
        registry.register("jobs_queue_depth", "Messages that wait in the broker", metrics.queue_depth.clone());
        registry.register(
            "jobs_oldest_due_seconds",
            "Seconds that the oldest job has waited since it could have started",
            metrics.oldest_due_seconds.clone(),
        );
        metrics
    }
}
