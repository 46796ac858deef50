//! Answers with a greeting.

mod api;
mod page;

use std::sync::Arc;

use axum::Router;
use clap::Args;
use kit_process::Shutdown;
use kit_web::{http, requests};
use tokio::net::TcpListener;

/// The configuration of service-template.
#[derive(Debug, Clone, Args)]
#[group(id = "service-template")]
pub struct Config {
    /// The text of the greeting.
    #[arg(long, env = "GREETING", default_value = "Hello")]
    pub greeting: String,
}

/// The dependencies of service-template.
#[derive(Debug)]
pub struct Deps {
    /// The metrics of HTTP requests.
    pub requests: requests::Metrics,
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    state: State,
    requests: requests::Metrics,
}

/// The state that handlers share.
#[derive(Debug, Clone)]
struct State {
    greeting: Arc<str>,
}

/// Builds the service. Has no side effects.
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    Service { state: State { greeting: config.greeting.into() }, requests: deps.requests }
}

impl Service {
    /// All routes, with the middleware of every public listener.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        http::harden_and_count(router, &self.requests)
    }

    /// Serves requests until `shutdown` drains, then finishes those in flight.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) {
        http::serve(listener, self.router(), shutdown).await;
    }
}
