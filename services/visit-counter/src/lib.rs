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
use kit_process::Shutdown;
use kit_process::readiness::Check;
use kit_web::http::{self, Limits};
use kit_web::requests;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
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

/// The limits of the listener. A visit waits for one round trip at most, so noticing that
/// a visitor has gone saves nothing, and would cost every visit a read buffer.
#[must_use]
pub fn limits() -> Limits {
    Limits { notice_disconnects: false, ..Limits::default() }
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
        prefix::also_below(&self.config.path_prefix, http::harden(router, &limits(), Some(&self.requests)))
    }

    /// Answers requests until `shutdown` drains; then finishes those under way.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) {
        let router = self.router();
        let counter = Arc::clone(&self.state.counter);
        let _counting = AbortOnDropHandle::new(tokio::spawn(async move { counter.count().await }));
        tokio::select! {
            () = http::serve(listener, router, limits(), shutdown) => {}
            () = self.state.counter.watch() => {}
        }
    }
}
