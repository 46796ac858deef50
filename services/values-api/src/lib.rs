//! Adds, removes and lists ids; shows who owns what, live.

mod api;
mod live;
mod page;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use clap::Args;
use kit_process::Shutdown;
use kit_process::readiness::Check;
use kit_web::http::{self, Limits, Routes};
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
    check: Check,
    metrics: Metrics,
}

/// Puts the API together. `shutdown` ends streams of events.
#[must_use]
pub fn build(deps: Deps, shutdown: Shutdown) -> Service {
    let live = Live::new(Arc::clone(&deps.store), shutdown);
    Service { state: api::State { store: deps.store, live }, check: deps.check, metrics: deps.metrics }
}

impl Service {
    /// Everything that it answers.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        http::harden(Routes::from(router).compressed(), &Limits::default(), Some(&self.metrics))
    }

    /// Answers requests until `shutdown` drains; then finishes those under way.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) {
        let router = self.router();
        let checks = watch_store(self.state.store, self.check);
        tokio::select! {
            () = http::serve(listener, router, Limits::default(), shutdown) => {}
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
