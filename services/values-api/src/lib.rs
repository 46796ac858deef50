//! Adds, removes and lists ids; shows live which worker owns which.

mod api;
mod live;
mod page;

use std::sync::Arc;

use axum::Router;
use kit_process::readiness::Check;
use kit_process::{Shutdown, StoreWatch, TaskFailed, Tasks, watch_store};
use kit_web::http;
use kit_web::live::Settings;
use kit_web::requests::Metrics;
use tokio::net::TcpListener;
use values_store::ValuesStore;

use crate::live::Live;

/// What values-api works with.
pub struct Deps {
    /// Where the ids are.
    pub store: Arc<dyn ValuesStore>,
    /// Set while the store answers.
    pub check: Check,
    /// Where requests are counted.
    pub metrics: Metrics,
}

/// The API, ready to run.
pub struct Service {
    state: api::State,
    snapshots: live::Reader<live::Snapshot>,
    check: Check,
    metrics: Metrics,
}

/// Builds the service. Nothing happens until it [runs](Service::run).
#[must_use]
pub fn build(deps: Deps) -> Service {
    let (live, snapshots) = Live::new(Settings::DATABASE);
    Service { state: api::State { store: deps.store, live }, snapshots, check: deps.check, metrics: deps.metrics }
}

impl Service {
    /// All routes. The page and `/events` answer once the service runs.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        http::harden_and_count(router, &self.metrics)
    }

    /// Answers requests until `shutdown` drains, and then finishes those under way.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let router = self.router();
        let tasks = Tasks::new(&shutdown);
        let (store, watch) = (Arc::clone(&self.state.store), StoreWatch::new(self.check, "values-api"));
        tasks.spawn("store watch", async move { watch_store(watch, || store.ping()).await });
        let ids = live::Ids::new(Arc::clone(&self.state.store));
        tasks.spawn("snapshots", self.snapshots.run(ids, shutdown.clone()));
        http::serve(listener, router, shutdown).await;
        tasks.finish()
    }
}
