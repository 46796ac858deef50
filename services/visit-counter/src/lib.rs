//! The page that counts its visits: each visitor receives a different number.

mod api;
mod config;
mod counter;
mod metrics;
mod page;
mod prefix;
mod store;

use std::sync::Arc;

use axum::Router;
use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};
use kit_web::http;
use kit_web::requests;
use tokio::net::TcpListener;
use visits_store::VisitStore;

pub use crate::config::{Config, Listen};
pub use crate::metrics::Metrics;
pub use crate::page::Page;

use crate::counter::Counter;
use crate::store::Store;

/// The dependencies of visit-counter.
pub struct Deps {
    /// The counter.
    pub store: Arc<dyn VisitStore>,
    /// A latch: passes once the store has answered, and then for good. A replica without
    /// a store has to stay ready, since it serves the page that reports the outage.
    pub check: Check,
    /// Metrics of requests.
    pub requests: requests::Metrics,
    /// Metrics of visits.
    pub metrics: Metrics,
}

/// The page and the API, ready to run.
pub struct Service {
    config: Config,
    state: State,
    worker: counter::Worker,
    requests: requests::Metrics,
}

/// The state that handlers share.
#[derive(Clone)]
struct State {
    counter: Arc<Counter>,
    page: Arc<Page>,
}

/// Builds the service. Nothing happens until it runs.
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    let store = Store::new(deps.store, deps.check, deps.metrics.clone());
    let (counter, worker) = Counter::new(store, deps.metrics);
    let page = Arc::new(Page::new(&config.environment));
    Service { config, state: State { counter: Arc::new(counter), page }, worker, requests: deps.requests }
}

impl Service {
    /// All routes. Visits are counted while [`run`](Self::run) runs.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        prefix::also_below(&self.config.path_prefix, http::harden(router, &self.config.limits(), Some(&self.requests)))
    }

    /// Answers requests until `shutdown` drains, and then finishes those in progress.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let (router, limits) = (self.router(), self.config.limits());
        let tasks = Tasks::new(&shutdown);
        tasks.spawn("additions", self.worker.run());
        let counter = self.state.counter;
        tasks.spawn("store watch", async move { counter.watch().await });
        http::serve(listener, router, limits, shutdown).await;
        tasks.finish()
    }
}
