//! The page that counts its visits: every visitor sees a number that no other
//! visitor sees.

mod api;
mod config;
mod counter;
mod metrics;
mod page;
mod prefix;
mod store;

use std::sync::Arc;

use axum::Router;
use kit_process::Shutdown;
use kit_process::readiness::Check;
use kit_web::{http, requests};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
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
    /// A latch: passes once the store has answered, and stays so. A replica without a store
    /// has to stay ready, since it serves the page that says so.
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

/// Builds the service.
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
        prefix::also_below(&self.config.path_prefix, http::harden_and_count(router, &self.requests))
    }

    /// Serves requests until `shutdown` drains; then finishes those in flight.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) {
        let router = self.router();
        let _counting = AbortOnDropHandle::new(tokio::spawn(self.worker.run()));
        tokio::select! {
            () = http::serve(listener, router, shutdown) => {}
            () = self.state.counter.watch() => {}
        }
    }
}
