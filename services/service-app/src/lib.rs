//! service-app: runs jobs and calls clients back.

mod callbacks;
pub mod config;
pub mod kinds;

use std::sync::Arc;

use jobs_queue::JobQueue;
use jobs_runner::{Registry, Runner};
use jobs_store::JobsStore;
use kit_http_client::Client;
use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks, prometheus_client};

use crate::callbacks::Callbacks;
pub use crate::config::Config;

/// Dependencies of service-app.
pub struct Deps {
    /// The store of the jobs.
    pub store: Arc<dyn JobsStore>,
    /// The queue that messages come from.
    pub queue: Arc<dyn JobQueue>,
    /// Readiness check: passes while the database answers.
    pub check: Check,
    /// Metrics of service-app.
    pub metrics: Metrics,
}

/// Metrics of service-app, shared by all parts of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    jobs: jobs_runner::Metrics,
    callbacks: callbacks::Metrics,
}

impl Metrics {
    /// Registers the metrics in `registry`.
    pub fn register(registry: &mut prometheus_client::registry::Registry) -> Self {
        Self { jobs: jobs_runner::Metrics::register(registry), callbacks: callbacks::Metrics::register(registry) }
    }
}

/// The kinds of jobs that service-app runs.
#[must_use]
pub fn registry(config: &Config, client: &Client) -> Registry {
    Registry::new()
        .with(kinds::UserRequest::new(config.processing_time.0))
        .with(kinds::Http::new(client.clone(), config.http_concurrency))
}

/// service-app, ready to run.
pub struct Service {
    runner: Runner,
    callbacks: Callbacks,
}

/// Puts service-app together.
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    let client = config.client();
    let registry = registry(&config, &client);
    let callbacks = Callbacks::new(
        deps.store.clone(),
        client,
        config.call_timeout.0,
        config.callback_secret.as_ref(),
        deps.metrics.callbacks,
    );
    let deps = jobs_runner::Deps {
        store: deps.store,
        queue: deps.queue,
        registry,
        metrics: deps.metrics.jobs,
        check: deps.check,
    };
    Service { runner: Runner::new(config.jobs, deps), callbacks }
}

impl Service {
    /// Runs jobs and sends callbacks until `shutdown` drains, and then finishes those
    /// that have begun.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let tasks = Tasks::new(&shutdown);
        let callbacks = tasks.spawn("callbacks", self.callbacks.run(shutdown.clone()));
        let run = self.runner.run(shutdown).await;
        callbacks.ended().await;
        run.and(tasks.finish())
    }
}
