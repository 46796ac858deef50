//! Adds, removes and lists ids; shows live which worker owns which.

mod api;
mod live;
mod page;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use clap::Args;
use kit_process::Shutdown;
use kit_process::readiness::Check;
use kit_web::http;
use kit_web::live::Settings;
use kit_web::requests::Metrics;
use tokio::net::TcpListener;
use values_store::ValuesStore;

use crate::live::Live;

/// The settings of values-api.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address of the API and the page.
    #[arg(long, env = "LISTEN", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8001)))]
    pub listen: SocketAddr,
}

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

    /// Answers requests until `shutdown` drains; then finishes those under way.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) {
        let router = self.router();
        let snapshots = self.snapshots.run(live::Ids::new(Arc::clone(&self.state.store)), shutdown.clone());
        let checks = watch_store(self.state.store, self.check);
        tokio::select! {
            ((), ()) = async { tokio::join!(http::serve(listener, router, shutdown), snapshots) } => {}
            () = checks => {}
        }
    }
}

/// Keeps readiness up to date, so that probes cause no load.
async fn watch_store(store: Arc<dyn ValuesStore>, check: Check) {
    loop {
        check.set(store.ping().await.is_ok());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}
