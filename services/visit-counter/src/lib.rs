//! The page that counts its visits: every visitor sees a number that no other
//! visitor sees.

mod api;
mod config;
mod counter;
mod metrics;
mod page;
mod prefix;
mod presence;

use std::sync::Arc;

use axum::Router;
use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};
use kit_web::{http, requests};
use tokio::net::TcpListener;
use visits_store::VisitStore;

pub use crate::config::{Config, Listen};
pub use crate::metrics::Metrics;
pub use crate::page::Page;

use crate::counter::Counter;
use crate::presence::Presence;

/// What visit-counter works with.
pub struct Deps {
    /// Where visits are counted.
    pub store: Arc<dyn VisitStore>,
    /// Set once the store has answered. When it goes away later, visitors are told so
    /// by a page, which a platform that thinks of nobody as ready would not show.
    pub check: Check,
    /// Where requests are counted.
    pub requests: requests::Metrics,
    /// Where visits are counted for operators.
    pub metrics: Metrics,
}

/// The page and the API, ready to run.
pub struct Service {
    config: Config,
    state: State,
    requests: requests::Metrics,
}

/// What handlers share.
#[derive(Clone)]
struct State {
    counter: Arc<Counter>,
    page: Arc<Page>,
}

/// Puts the service together.
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    let presence = Presence::new(deps.check, deps.metrics.store_up.clone());
    let counter = Arc::new(Counter::new(deps.store, presence, deps.metrics));
    let page = Arc::new(Page::new(&config.environment));
    Service { config, state: State { counter, page }, requests: deps.requests }
}

impl Service {
    /// Everything that it answers, as long as [`run`](Self::run) counts.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        prefix::also_below(&self.config.path_prefix, http::harden_and_count(router, &self.requests))
    }

    /// Answers requests until `shutdown` drains, and then finishes those under way.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let router = self.router();
        let tasks = Tasks::new(&shutdown);
        let counter = Arc::clone(&self.state.counter);
        tasks.spawn("additions", async move { counter.count().await });
        let counter = self.state.counter;
        tasks.spawn("store watch", async move { counter.watch().await });
        http::serve(listener, router, shutdown).await;
        tasks.finish()
    }
}
