//! Adds, removes and lists ids, and shows the owner of each id live.

mod api;
mod live;
mod page;

use std::sync::Arc;

use axum::Router;
use clap::Args;
use kit_process::readiness::Check;
use kit_process::{Shutdown, StoreWatch, TaskFailed, Tasks, watch_store};
use kit_web::http::{self, Limits};
use kit_web::live::Settings;
use kit_web::requests::Metrics;
use tokio::net::TcpListener;
use values_store::ValuesStore;

use crate::live::Live;

/// The settings of values-api.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Limits of the listener.
    #[command(flatten)]
    pub limits: Limits,
}

/// The dependencies of values-api.
pub struct Deps {
    /// The store of ids and workers.
    pub store: Arc<dyn ValuesStore>,
    /// The readiness check that follows whether the store answers.
    pub check: Check,
    /// Metrics of requests.
    pub metrics: Metrics,
}

/// The API, ready to run.
pub struct Service {
    config: Config,
    state: api::State,
    snapshots: live::Reader<live::Snapshot>,
    check: Check,
    metrics: Metrics,
}

/// Builds the service. Nothing happens until it [runs](Service::run).
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    let (live, snapshots) = Live::new(Settings::DATABASE);
    let state = api::State { store: deps.store, live };
    Service { config, state, snapshots, check: deps.check, metrics: deps.metrics }
}

impl Service {
    /// All routes. The page and `/events` answer once the service runs.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        http::harden(router.layer(http::compression()), &self.config.limits, Some(&self.metrics))
    }

    /// Answers requests until `shutdown` drains, and then finishes those in progress.
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
        http::serve(listener, router, self.config.limits, shutdown).await;
        tasks.finish()
    }
}
